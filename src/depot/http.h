/* Files from web servers, several at once: each answer is bounded in bytes and in time, and what
 * comes is nothing but bytes that somebody else verifies.
 *
 * One thread makes all the calls; only http_wake() may be made by another one. */
#pragma once

#include "lib/buffer.h"
#include "lib/error.h"

struct http;

struct http_options {
	const char *ca_file;                     /* whom to trust; NULL: the system's */
	const char *certificate_file, *key_file; /* what to show to servers; NULL: nothing */
	uint32_t connect_ms;                     /* 0: 5 s */
	uint32_t silence_ms;  /* without a byte for so long, it is given up; 0: 15 s */
	uint32_t connections; /* at most, to one server; 0: 8 */
};

/* What became of a GET. `err` has code 0 where the body is whole, else
 *   -ENOENT     the server has no such file (404, 410)
 *   -EACCES     it refuses (401, 403 and their like)
 *   -EFBIG      it is larger than was allowed
 *   -EBUSY      the server asks to come later (429, 503)
 *   -EPROTO     it answers with something else, or redirects without end
 *   -ETIMEDOUT  it is too slow, or silent
 *   -ENOTCONN   it cannot be reached, or the connection broke
 *   -ECANCELED  by http_cancel()
 *   -EKEYREJECTED  TLS: who it is cannot be believed
 * with the reason. The body may be kept: copy the struct, and leave an empty one. */
typedef void (*http_fn)(struct buffer *body, const struct error *err, void *userdata);

/* Returns 0 or -ENOMEM. What `options` (NULL: all as by default) points to is borrowed. */
int http_new(const struct http_options *options, struct http **ret);

/* Breaks off what is going on; nobody is told. */
struct http *http_free(struct http *h);
DEFINE_CLEANUP(struct http *, http_free)

/* Begins to get `url` (http or https), of at most `max` bytes, within `timeout_ms`. `done` is
 * called from http_run(), and may begin others. Returns 0, -EINVAL for what is no such URL, or
 * -ENOMEM. */
int http_get(struct http *h, const char *url, size_t max, uint32_t timeout_ms, http_fn done,
	void *userdata);

/* Breaks off what is going on, from the next http_run() on; who waits for it is told then. */
void http_cancel(struct http *h);

/* How many are going on. */
size_t http_active(const struct http *h);

/* Goes on with all, and waits for something to happen, at most `timeout_ms`. Returns 0 or -EIO. */
int http_run(struct http *h, uint32_t timeout_ms);

/* Ends the wait of http_run() in another thread. */
void http_wake(struct http *h);
