/* What a client has open: files and directories, by the numbers that it knows them by. */
#pragma once

#include <dirent.h>

#include "lib/base.h"

/* As many as the limit of open files allows is what a client gets; this bounds our own memory. */
#define HANDLES_MAX (1024 * 1024)

struct handle {
	int fd;   /* of a file, or of the directory; -1: free */
	DIR *dir; /* has the fd too */
};

struct handles {
	struct handle *items;
	size_t count; /* of items, free ones included */
	size_t first; /* none below is free */
};

void handles_done(struct handles *h);

/* Take `fd` in any case. Return the number or negative errno. */
int64_t handle_add_file(struct handles *h, int fd);
int64_t handle_add_directory(struct handles *h, int fd);

/* NULL: there is none of this number, or it is of the other kind. */
struct handle *handle_find(struct handles *h, uint64_t number);
struct handle *handle_find_file(struct handles *h, uint64_t number);
struct handle *handle_find_directory(struct handles *h, uint64_t number);

/* Returns 0, or negative errno of what was still to be written. */
int handle_remove(struct handles *h, struct handle *handle);
