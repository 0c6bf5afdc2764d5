/* The run directory: one directory a running VM, where its control socket is. Its lock is held for
 * as long as its `wnodes` lives, so that what a killed one left can be told from what is in use. */
#pragma once

#include "lib/error.h"

struct rundir {
	char *name; /* the VM's: "vm-" and eight hex digits, chosen at random */
	char *path;
	int lock_fd;
};

/* Makes the directory where those of VMs are, and looks whether only its owner can write to it.
 * Returns 0 and its path, which the caller frees, or negative errno. */
int rundir_open_parent(char **ret_path, struct error *err);

/* Makes a directory with a fresh name, and removes those of the dead. Returns 0 or -errno. */
int rundir_open(struct rundir *ret, struct error *err);
void rundir_done(struct rundir *r);

/* Calls `each` with the name and the directory of every VM that lives, sorted by name. Returns 0 or
 * the first value of `each` that is not 0. */
int rundir_list(int (*each)(const char *name, const char *path, void *userdata), void *userdata,
	struct error *err);

/* The path of a living VM's control socket, by its name or a unique beginning of it; the caller
 * frees. Returns 0 or -ENOENT. */
int rundir_find(const char *name, char **ret_socket, struct error *err);

#define RUNDIR_SOCKET "control"
