/* Directories of the host that its NFS server serves to VMs: each to the one address of one VM, and
 * with the rights of one user, whoever asks there.
 *
 * What is served is a mount of its own, made of a directory that is open: no path is resolved, so
 * that it is the directory that was meant, and nothing that is mounted below it is served. Handles
 * of files are looked into (subtree_check): root of a VM can make some of its own, and would reach
 * with them all of the file system that the directory is on.
 *
 * Calls start the program exportfs, and wait for it: they are for a process that serves nobody
 * else, in the mount namespace of the NFS server's mountd. It needs root's id and CAP_SYS_ADMIN. */
#pragma once

#include <netinet/in.h>

#include "lib/error.h"
#include "lib/strv.h"
#include "lib/uuid.h"

/* Where they are mounted. All users see the mounts' paths, and only root may pass this directory.
 */
#define EXPORT_DIRECTORY "/run/wnodes/nfs"

/* With NUL: "ADDRESS-UUID-NN", by which the VM that it is for is known. */
#define EXPORT_NAME_MAX 64

/* How many a VM may have. */
#define EXPORT_NUMBERS 100

struct export
{
	const char *name;
	int fd; /* the directory */
	uid_t uid;
	gid_t gid;
	bool read_only;
};

/* `vm` is a UUID, `number` below EXPORT_NUMBERS. */
void export_format_name(
	struct in_addr address, const char *vm, unsigned int number, char ret[EXPORT_NAME_MAX]);

/* Returns 0, or -EINVAL for what is no such name. */
int export_parse_name(const char *name, struct in_addr *ret_address, char ret_vm[UUID_TEXT_SIZE]);

/* What exportfs is told by -o; a new string, or NULL when out of memory. For tests. */
char *export_options(const struct export *e);

/* Serves it. Returns 0, or negative errno with what to do, and nothing is left. */
int export_add(const struct export *e, struct error *err);

/* Ends it at once, whatever the VM has open. One that is not there is no error. Returns 0 or
 * negative errno. */
int export_remove(const char *name, struct error *err);

/* Adds the names of all, whoever has made them. Returns 0 or negative errno. */
int export_list(struct strv *ret, struct error *err);
