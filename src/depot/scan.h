/* A file's way to its index: cut into chunks, each with its id, by several threads. Holes are not
 * read. */
#pragma once

#include "depot/caibx.h"

struct scan {
	unsigned threads; /* 0: one for each CPU that this process may use */
	/* Called for each chunk with its bytes, in any order and by any of the threads; may be
	 * NULL. What it returns below 0 ends the scan. */
	int (*on_chunk)(const struct caibx_chunk *chunk, const void *data, void *userdata,
		struct error *err);
	/* Called with the bytes of the file that are done, by one thread at a time; may be NULL. */
	void (*on_bytes)(uint64_t done, void *userdata);
	void *userdata;
};

/* Scans the first `size` bytes of the file. Moves the descriptor's offset. Returns 0 and *ret for
 * caibx_free(), -EFBIG where the index would be too large, or negative errno (of on_chunk, too). */
int scan_file(
	int fd, uint64_t size, const struct scan *scan, struct caibx **ret, struct error *err);
