/* What a built root file system contains: its kernel, its modules, its name. */
#pragma once

#include "image/manifest.h"
#include "image/runner.h"

struct rootfs {
	int tree_fd;   /* the unpacked file system, without /boot */
	int kernel_fd; /* the newest kernel, a bzImage */
	char *release; /* that kernel's, as "uname -r" */
};

/* Looks at WORK/tree, into which `archive` was unpacked, and takes the kernel from the archive.
 * Returns 0, -ENOENT with what the image lacks, or another negative errno. */
int rootfs_open(const struct runner *runner, const char *archive, const char *work,
	struct rootfs **ret, struct error *err);
struct rootfs *rootfs_free(struct rootfs *r);
DEFINE_CLEANUP(struct rootfs *, rootfs_free)

/* Checks that the kernel can mount every kind of share and overlays, and adds the gateways' file
 * systems to `ret`. Returns 0 or -ENOENT with the module that is missing. */
int rootfs_gateways(const struct rootfs *r, struct strv *ret, struct error *err);

/* PRETTY_NAME of os-release, or NULL. The caller frees. */
char *rootfs_os_name(const struct rootfs *r);

/* The same for the text of an os-release file. */
char *rootfs_parse_os_name(const char *text);
