/* Where published images are: a depot's directory, or its URL on any web server. Nothing that comes
 * from there is believed: digests say what it must be.
 *
 * An origin that fails is left alone for a while, longer each time, and given up when that has gone
 * on for too long; its reason is kept for the message that the user gets in the end. */
#pragma once

#include <stdatomic.h>

#include "depot/http.h"

#define ORIGINS_MAX 16

struct origin {
	char *text; /* as it was given */
	char *url;  /* NULL: a directory */
	int dir_fd;
	atomic_ullong bytes, chunks; /* that have come from here and were right; bytes as packed */
	/* Of the thread that asks: */
	bool given_up;
	unsigned failures; /* in a row */
	uint64_t failing_since_us, rest_until_us;
	unsigned long long bad; /* chunks that were not what they should have been */
	struct error reason;    /* of its last failure */
};

struct origins {
	struct origin items[ORIGINS_MAX];
	size_t count;
	bool have_url;
};

/* Opens them all (`texts` ends with NULL): URLs of http and https, or directories, also as file://.
 * Returns 0, -EINVAL, or negative errno for a directory that cannot be opened. */
int origins_open(struct origins *o, const char *const *texts, struct error *err);
void origins_done(struct origins *o);

/* Reads a file of a directory, of at most `max` bytes. Any thread. Returns 0, -ENOENT, -EFBIG, or
 * another negative errno. */
int origin_read(const struct origin *o, const char *path, size_t max, struct buffer *ret);

/* Begins to get a file of a web server; as http_get(). */
int origin_get(const struct origin *o, struct http *h, const char *path, size_t max,
	uint32_t timeout_ms, http_fn done, void *userdata);

/* An answer was right: all is forgotten. */
void origin_set_good(struct origin *o);

/* Something has failed; `now_us` by clock_now_us(). After `patience_us` of nothing else it is given
 * up; at once if it is not who it should be. */
void origin_set_failed(
	struct origin *o, const struct error *err, uint64_t now_us, uint64_t patience_us);

/* It has sent a wrong chunk: after some of them, mostly such ones, it is given up. */
void origin_set_bad(struct origin *o, const struct error *err);

/* May the next request go there now? */
bool origin_is_ready(const struct origin *o, uint64_t now_us);

/* Is this failure the server's (and may pass), not the file's? */
bool origin_is_to_blame(const struct error *err);
