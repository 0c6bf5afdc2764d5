/* How far records have been delivered: a file's number and a place in it, written down in place, in
 * one sector, before anybody relies on it. */
#pragma once

#include "lib/error.h"

struct cursor {
	uint64_t file, offset;
};

/* A file that says nothing sensible is the beginning: what is delivered twice is stored once.
 * Returns 0 or negative errno. */
int cursor_read(int fd, struct cursor *ret);

/* On the disk when it returns 0; else negative errno. */
int cursor_write(int fd, const struct cursor *c);
