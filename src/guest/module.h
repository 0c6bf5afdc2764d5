/* Kernel modules: those that the initrd lists, and modprobe for what turns out to be missing. */
#pragma once

#include "guest/program.h"
#include "lib/error.h"

#define MODULE_NAME_SIZE 64 /* of the kernel */

/* A modprobe under way, or the last one. */
struct module {
	struct program program;
	char name[MODULE_NAME_SIZE];
};

/* Loads the files that `list` names, one a line, in that order. Complains about those that cannot
 * be loaded and goes on: what is really missing shows later, with a better message. */
void module_load_list(const char *list);

/* Runs modprobe for the driver of virtio devices if the kernel does not have it yet. Returns 0 if
 * it has it or everything was tried, CALL_AGAIN (see call.h) while modprobe runs. */
int module_require_driver(struct module *m, const char *driver);

/* The same for a module that makes the file `device`. */
int module_require_device(struct module *m, const char *name, const char *device);

/* Starts one modprobe (the one below `root`, if any) for all these modules. That a module does not
 * exist is no error: the kernel may have it built in. Returns 0 or negative errno. */
int module_load_all(
	struct program *p, const char *root, const char *const *names, struct error *err);
