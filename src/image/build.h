/* Images of Debian, made on this machine. */
#pragma once

#include <signal.h>

#include "image/store.h"

#define BUILD_SUITE_DEFAULT "bookworm"
#define BUILD_SIZE_DEFAULT  (UINT64_C(10) << 30)

struct build_request {
	const char *name, *tag;
	const char *suite;
	const char *const *mirrors;  /* URLs or "deb ..." lines; NULL: the host's, else Debian's */
	const char *const *packages; /* more of them; may be NULL */
	const char *script;          /* a file, run as root in the image at the end; may be NULL */
	uint64_t disk_size;          /* bytes */
	bool systemd;                /* as init, with the agent as a service */

	void (*on_step)(const char *what, void *userdata); /* before each step; may be NULL */
	void *userdata;
	const volatile sig_atomic_t *cancel; /* not zero: stop and clean up; may be NULL */
};

/* Builds an image and adds it to the store as NAME:TAG. Returns 0 and its digest, or negative errno
 * (-ECANCELED). When a program failed, its log is kept and named in the message. */
int build_debian(struct store *s, const struct build_request *request,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err);
