/* An image list of the HEPiX virtualisation working group: which images an endorser vouches for,
 * where they are, and until when. What is here has no signature; see smime.h.
 *
 * Source: hepixvmitrust's metadata keys, and the lists of EGI's AppDB. */
#pragma once

#include "imagelist/member.h"
#include "lib/strv.h"

/* With its signature; the largest that are known have half a MiB. */
#define IMAGELIST_BYTES_MAX  (16 * 1024 * 1024)
#define IMAGELIST_IMAGES_MAX 10000

/* All texts are set but for those that may be NULL. */
struct imagelist_image {
	char *identifier, *title, *description, *comments;
	char *architecture, *os, *os_version, *hypervisor, *version, *uri, *sha512;
	char *os_name, *format;            /* may be NULL */
	uint64_t size;                     /* bytes of what is at `uri` */
	uint64_t expires_us;               /* 0: with the list */
	uint64_t min_memory_mib, min_cpus; /* 0: not said */
};

struct imagelist_endorser {
	char *creator, *email;
	char *dn, *ca; /* subject and issuer of the certificate: "/DC=org/CN=Alice" */
};

struct imagelist {
	char *identifier, *title, *description, *source, *version, *uri;
	char *vo; /* may be NULL */
	uint64_t created_us, expires_us;
	struct imagelist_endorser endorser;
	struct imagelist_image *images;
	size_t image_count;
	struct strv warnings; /* images that were passed over, with the reason; an old form */
};

/* Parses a list from anywhere (hostile bytes). An image that lacks something is passed over, with a
 * warning. Returns 0 and *ret for imagelist_free(), -EPROTO for what is no JSON, -EINVAL for a list
 * that lacks something, or -ENOMEM; with the reason. */
int imagelist_parse(const char *json, size_t length, struct imagelist **ret, struct error *err);

/* Writes the list as JSON of many lines; the caller frees. NULL when out of memory. */
char *imagelist_format(const struct imagelist *list);

struct imagelist *imagelist_free(struct imagelist *list);
DEFINE_CLEANUP(struct imagelist *, imagelist_free)

/* Makes room for one more image, which is zeroed. NULL when out of memory. */
struct imagelist_image *imagelist_add(struct imagelist *list);

/* Returns the image or NULL. */
const struct imagelist_image *imagelist_find(const struct imagelist *list, const char *identifier);
