/* Kernel modules: those that the initrd lists, and modprobe for what turns out to be missing. */
#pragma once

#include "lib/error.h"

/* A modprobe under way, or the last one. */
struct module {
	pid_t pid; /* 0 = none runs */
	char name[32];
	int64_t deadline;
};

/* Loads the files that `list` names, one a line, in that order. Complains about those that cannot
 * be loaded and goes on: what is really missing shows later, with a better message. */
void module_load_list(const char *list);

/* Runs modprobe for the driver of virtio devices if the kernel does not have it yet. Returns 0 if
 * it has it or everything was tried, CALL_AGAIN (see call.h) while modprobe runs. */
int module_require_driver(struct module *m, const char *driver);

/* A child was reaped; false if it is not modprobe. */
bool module_on_exit(struct module *m, pid_t pid, int status);
