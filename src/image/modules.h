/* Kernel modules: which files to load, and in which order, from depmod(8)'s lists. */
#pragma once

#include "lib/error.h"
#include "lib/strv.h"

/* A module that is wanted, by the name that modprobe(8) takes. */
struct module_want {
	const char *name;
	bool optional; /* kernels may do without it */
};

/* Adds to `ret` the paths (as in modules.dep) of the wanted modules and of all that they need, each
 * once, after everything it depends on. Modules that are built into the kernel (`builtin`, the text
 * of modules.builtin) need no file. The list ends with a NULL name.
 * Returns 0, -ENOENT for a wanted module that is not there, -EINVAL for lists that make no sense,
 * -ENOMEM. */
int modules_resolve(const char *dep, const char *builtin, const struct module_want *wanted,
	struct strv *ret, struct error *err);
