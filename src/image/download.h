/* Downloads, by curl(1). */
#pragma once

#include "lib/error.h"

/* Is this a URL, rather than a file's name? */
bool download_is_url(const char *source);

/* Writes what is at `url` (http or https, redirections followed) to `fd`, at most `max` bytes.
 * `progress` (may be NULL) is called about five times a second with the bytes so far. A server that
 * sends nothing for a minute is given up. Returns 0, -ENOENT without curl, -EFBIG, or -EIO with
 * what curl says. */
int download(const char *url, int fd, uint64_t max, void (*progress)(uint64_t done, void *userdata),
	void *userdata, struct error *err);

/* The same for a file that has the beginning already: goes on where the server can, else begins
 * anew. The file's offset is moved. */
int download_rest(const char *url, int fd, uint64_t max,
	void (*progress)(uint64_t done, void *userdata), void *userdata, struct error *err);
