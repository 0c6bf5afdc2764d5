/* Images made elsewhere: cloud images of distributions, taken as they are. */
#pragma once

#include "image/store.h"

struct import_request {
	const char *source; /* a file or a URL */
	const char *name;   /* NULL: from the source's last part */
	const char *tag;    /* NULL: STORE_TAG_DEFAULT */
	const char
		*format; /* "raw", "qcow2" or "ova", which it must then be; NULL: whichever it is */
	const char *sha256; /* that it must have; may be NULL */
	uint64_t max_bytes; /* of a download */
	const char *origin; /* where it came from, for people; NULL: the source */
	const char *os;     /* which system it is; NULL: not known */

	void (*on_step)(const char *what, void *userdata); /* before each step; may be NULL */
	void (*on_bytes)(uint64_t done, void *userdata);   /* copied so far; may be NULL */
	void *userdata;
};

#define IMPORT_MAX_BYTES (UINT64_C(1) << 40)

/* Adds the image to the store, without starting it. The disk of an OVA becomes qcow2; all else
 * stays as it is. It boots by its own boot loader, and gets the agent from cloud-init (see seed.h).
 * Returns 0 and the image, or negative errno: -EINVAL for what is no bootable disk image, -EBADMSG
 * for one that is damaged or has another SHA-256. */
int import_image(struct store *s, const struct import_request *request, struct image **ret,
	struct error *err);

/* Records what a first start has shown: the same parts under a new manifest, to which the image's
 * tag moves. `gateways` is NULL-terminated; `os` may be NULL. Returns 0 and the new digest. */
int import_set_probe(struct store *s, const struct image *image, const char *const *gateways,
	const char *os, const char *agent_version, char ret_digest[DIGEST_HEX_SIZE],
	struct error *err);

/* The name for an image from this source: "https://x/Debian-12.qcow2?y" gives "debian-12". NULL
 * when out of memory. */
char *import_name(const char *source);
