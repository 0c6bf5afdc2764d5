/* The body of a request while it comes: in memory up to a size, and on the disk from there on. */
#pragma once

#include "lib/buffer.h"
#include "lib/error.h"

/* In memory at most, of one request. */
#define INTAKE_MEMORY_MAX (UINT64_C(1) << 20)

/* Begins as {0}. */
struct intake {
	struct buffer memory;
	bool in_file;
	int fd; /* a nameless file, if it is in one */
	size_t length;
	void *mapped;
};

/* Takes more of it. `directory` is for the file; NULL: it all stays in memory. Returns 0 or
 * negative errno. */
int intake_add(struct intake *in, const char *directory, const void *data, size_t length);

/* How much of it is in memory, and on the disk. */
size_t intake_memory(const struct intake *in);
size_t intake_file(const struct intake *in);

/* All of it, until more is added or it is done; NULL: it is empty, or cannot be read. */
const void *intake_get(struct intake *in);

/* Leaves an empty one. */
void intake_done(struct intake *in);
