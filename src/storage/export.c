#include "storage/export.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"
#include "storage/nfsd.h"

#define EXPORT_PROGRAM "exportfs"

/* It waits for its table, which another exportfs or the server may have locked. */
#define EXPORT_COMMAND_MS 30000

/* Handles of NFS 4 have 128 bytes; this asks whether there are any. */
#define HANDLE_BYTES MAX_HANDLE_SZ

void export_format_name(
	struct in_addr address, const char *vm, unsigned int number, char ret[EXPORT_NAME_MAX])
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &address, text, sizeof(text));
	snprintf(ret, EXPORT_NAME_MAX, "%s-%.36s-%02u", text, vm, number % EXPORT_NUMBERS);
}

int export_parse_name(const char *name, struct in_addr *ret_address, char ret_vm[UUID_TEXT_SIZE])
{
	size_t n = strcspn(name, "-");
	char address[INET_ADDRSTRLEN] = "";
	const char *number;

	if (n >= sizeof(address) ||
		strlen(name) != n + strlen("-") + UUID_TEXT_SIZE - 1 + strlen("-NN"))
		return -EINVAL;
	memcpy(address, name, n);
	memcpy(ret_vm, name + n + 1, UUID_TEXT_SIZE - 1);
	ret_vm[UUID_TEXT_SIZE - 1] = '\0';
	number = name + n + UUID_TEXT_SIZE;
	if (inet_pton(AF_INET, address, ret_address) != 1 || !uuid_is_text(ret_vm) ||
		number[0] != '-' || strspn(number + 1, "0123456789") != 2)
		return -EINVAL;
	return 0;
}

/* The VM's id with the number in it: it tells this one from others of the VM. */
static void format_fsid(const char *name, char ret[UUID_TEXT_SIZE])
{
	const char *number = name + strlen(name) - 2;

	memcpy(ret, number - UUID_TEXT_SIZE, UUID_TEXT_SIZE - 1);
	memcpy(ret + UUID_TEXT_SIZE - 3, number, 2);
	ret[UUID_TEXT_SIZE - 1] = '\0';
}

/* `mountpoint`: what is below the mount, if that has gone, is not served in its place. */
char *export_options(const struct export *e)
{
	char fsid[UUID_TEXT_SIZE];

	format_fsid(e->name, fsid);
	return path_format("%s,sync,secure,sec=sys,root_squash,all_squash,anonuid=%u,anongid=%u,"
			   "subtree_check,mountpoint,fsid=%s",
		e->read_only ? "ro" : "rw", e->uid, e->gid, fsid);
}

static char *export_path(const char *name)
{
	return path_format(EXPORT_DIRECTORY "/%s", name);
}

static int run(struct strv *argv, struct error *err)
{
	struct child_spec child = CHILD_SPEC_INIT;
	autofree char *search = path_search(), *program = NULL;

	if (argv->failed || !search)
		return fail(err, -ENOMEM, "out of memory");
	program = path_find_program(search, argv->items[0]);
	if (!program)
		return fail(err, -ENOENT,
			"'%s' was not found; ask the administrator to install the NFS server "
			"(nfs-kernel-server or nfs-utils)",
			argv->items[0]);
	free(argv->items[0]);
	argv->items[0] = TAKE_PTR(program);
	child.argv = strv_list(argv);
	/* Who dies meanwhile leaves a table that is whole. */
	child.dies_with_parent = false;
	child.new_session = true;
	return child_run(&child, EXPORT_COMMAND_MS, err);
}

/* A prefix of all 32 bits, as exportfs would ask for the name of a single address. */
static void add_client(struct strv *argv, const char *name, const char *path)
{
	strv_add_format(argv, "%.*s/32:%s", (int)strcspn(name, "-"), name, path);
}

/* Without options of the administrator's files, which are for others. */
static int tell_server(const struct export *e, const char *path, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};
	autofree char *options = export_options(e);

	if (!options)
		return fail(err, -ENOMEM, "out of memory");
	strv_add_all(&argv, EXPORT_PROGRAM, "-i", "-o", options, NULL);
	add_client(&argv, e->name, path);
	return run(&argv, err);
}

/* Files of FUSE are served by a program, perhaps the user's, for which all threads of the server
 * might come to wait. */
static int check_directory(int fd, struct error *err)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + HANDLE_BYTES];
	} u = {.handle = {.handle_bytes = HANDLE_BYTES}};
	struct statfs fs;
	struct stat st;
	int mount;

	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return fail_errno(err, -errno, "cannot look at the directory");
	if (!S_ISDIR(st.st_mode))
		return fail(err, -ENOTDIR, "it is no directory");
	if (fs.f_type == FUSE_SUPER_MAGIC ||
		name_to_handle_at(fd, "", &u.handle, &mount, AT_EMPTY_PATH) < 0)
		return fail(err, -EOPNOTSUPP,
			"its file system cannot be served by NFS; use another gateway");
	return 0;
}

static int fail_mount(int error, struct error *err)
{
	if (error == -EINVAL)
		return fail(err, error,
			"the directory is in a mount namespace of the job's own, such as a private "
			"/tmp, which the node's NFS server does not see; use another gateway");
	return fail_errno(err, error, "cannot mount the directory for the NFS server");
}

/* The directory itself, and nothing that is mounted below it. */
static int mount_directory(const struct export *e, const char *path, struct error *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					      (e->read_only ? MOUNT_ATTR_RDONLY : 0)};
	autoclose int fd = open_tree(
		e->fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (unsigned int)AT_EMPTY_PATH);

	if (fd < 0)
		return fail_mount(-errno, err);
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ||
		move_mount(fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return fail_mount(errno == EINVAL ? -EIO : -errno, err);
	return 0;
}

/* Others must not come to a user's files by the mounts: the way to them may be closed. Root of a VM
 * is root on the way to what is served to it, which the NFS server shows as if nothing else were
 * there. */
static int make_mount_point(const char *path, struct error *err)
{
	int r = file_make_dirs(EXPORT_DIRECTORY, 0755);

	if (r == 0 && (chmod(EXPORT_DIRECTORY, 0700) < 0 || mkdir(path, 0) < 0))
		r = -errno;
	return r < 0 ? fail_errno(err, r, "cannot make '%s'", path) : 0;
}

int export_add(const struct export *e, struct error *err)
{
	autofree char *path = export_path(e->name);
	struct error unused = {0};
	int r = path ? check_directory(e->fd, err) : fail(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = nfsd_check(err);
	if (r == 0)
		r = make_mount_point(path, err);
	if (r < 0)
		return r;
	r = mount_directory(e, path, err);
	if (r == 0)
		r = tell_server(e, path, err);
	if (r < 0)
		export_remove(e->name, &unused);
	return r;
}

/* What an administrator has ended already is not in the server's table any more. */
static int tell_server_end(const char *name, const char *path, struct error *err)
{
	struct strv argv AUTO(strv_done) = {0};
	int r;

	strv_add_all(&argv, EXPORT_PROGRAM, "-u", NULL);
	add_client(&argv, name, path);
	r = run(&argv, err);
	return r == -EIO && strstr(err->text, "ould not find") ? 0 : r;
}

/* What the server has open keeps the file system, not the path to it. */
static int unmount(const char *path, struct error *err)
{
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
	if (errno != EINVAL && errno != ENOENT)
		return fail_errno(err, -errno, "cannot unmount '%s'", path);
	return rmdir(path) < 0 && errno != ENOENT
		       ? fail_errno(err, -errno, "cannot remove '%s'", path)
		       : 0;
}

int export_remove(const char *name, struct error *err)
{
	autofree char *path = export_path(name);
	char vm[UUID_TEXT_SIZE];
	struct in_addr address;
	int r;

	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	if (export_parse_name(name, &address, vm) < 0)
		return fail(err, -EINVAL, "'%s' is no export of ours", name);
	r = tell_server_end(name, path, err);
	if (r < 0)
		return r;
	nfsd_expire(address);
	return unmount(path, err);
}

int export_list(struct strv *ret, struct error *err)
{
	DIR *dir = opendir(EXPORT_DIRECTORY);
	const struct dirent *entry;
	char vm[UUID_TEXT_SIZE];
	struct in_addr address;

	if (!dir)
		return errno == ENOENT
			       ? 0
			       : fail_errno(err, -errno, "cannot read '%s'", EXPORT_DIRECTORY);
	while ((entry = readdir(dir)))
		if (export_parse_name(entry->d_name, &address, vm) == 0)
			strv_add(ret, entry->d_name);
	closedir(dir);
	return ret->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}
