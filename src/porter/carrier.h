/* Requests of ours to other nodes and to origins, many at a time, by libcurl, or to a directory.
 * All that is heard of them happens within carrier_run(), on the caller's thread. */
#pragma once

#include "engine/credential.h"
#include "porter/folder.h"

struct carrier;
struct errand;

/* Whom to ask: a node, which shows that it is `node` of our site by a certificate of a node's; or,
 * without, whoever answers at an origin's address. What comes is verified in any case. */
struct errand_address {
	const char *url;  /* "https://HOST:PORT", "http://HOST/depot": what is before the path */
	const char *node; /* NULL: an origin */
	bool site; /* an origin that is the site's: by its authority, and we show who we are */
	struct folder *folder; /* an origin that is a directory, instead of all that */
};

struct errand_calls {
	/* Bytes of an answer of status 200. False: they are not wanted, and the request ends. */
	bool (*on_data)(void *userdata, const void *data, size_t length);
	/* Its end: the status (0: there was no answer, and `why` says so, else it is empty). The
	 * errand is gone afterwards. Not called for one that is cancelled. */
	void (*on_end)(void *userdata, int status, const char *why);
	void *userdata;
};

int carrier_new(const struct credential *credential, struct carrier **ret, struct error *err);

/* Cancels all. Folders, whose carrier_wake() it is, are gone before. */
struct carrier *carrier_free(struct carrier *c);
DEFINE_CLEANUP(struct carrier *, carrier_free)

/* For folder_new(): a reading has ended. */
void carrier_wake(void *carrier);

/* GETs the path, or POSTs `body` (taken, may be NULL) to it. The answer may have `max` bytes. All
 * else is copied. Returns the errand, or NULL when out of memory. */
struct errand *carrier_start(struct carrier *c, const struct errand_address *address,
	const char *path, struct buffer *body, uint64_t max, const struct errand_calls *calls);
void errand_cancel(struct errand *e);

/* Waits until something has happened, `fd` can be read from or so many ms are over, and does what
 * is to be done. Returns 0 or negative errno. */
int carrier_run(struct carrier *c, int fd, int timeout_ms);
