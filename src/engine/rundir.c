#include "engine/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/path.h"

#define RUNDIR_LOCK   "lock"
#define RUNDIR_PREFIX "vm-"

/* The parent lies in /tmp where there is no XDG_RUNTIME_DIR: someone else may have made it. */
static int rundir_check_parent(const char *path, struct error *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return fail_errno(err, -errno, "cannot use '%s'", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return fail(err, -EPERM,
			"'%s' is not a directory that only you can write to; remove it or set "
			"XDG_RUNTIME_DIR",
			path);
	return 0;
}

/* Returns -EWOULDBLOCK for a VM's directory whose owner lives, 0 or -ENOENT (no lock file) for one
 * whose owner is dead, or another negative errno if that cannot be told. The lock that it tries is
 * a shared one, so that two who look at once do not take each other for the owner. */
static int rundir_probe(int parent_fd, const char *name)
{
	autofree char *path = path_format("%s/" RUNDIR_LOCK, name);
	autoclose int fd = -1;

	if (!path)
		return -ENOMEM;
	fd = openat(parent_fd, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : file_lock(fd, false, false);
}

static int is_vm(const struct dirent *entry)
{
	return str_after(entry->d_name, RUNDIR_PREFIX) != NULL;
}

/* A directory without a lock file is one that is being made, or whose making was cut off: only the
 * parent's lock, which rundir_open() holds, tells them apart. */
static void rundir_sweep(int parent_fd)
{
	struct dirent **entries;
	int n = scandirat(parent_fd, ".", &entries, is_vm, alphasort);

	for (int i = 0; i < n; i++) {
		int r = rundir_probe(parent_fd, entries[i]->d_name);

		if (r == 0 || r == -ENOENT)
			file_remove_tree(parent_fd, entries[i]->d_name);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

static int rundir_make(int parent_fd, struct rundir *r, const char *parent, struct error *err)
{
	autofree char *lock = NULL;
	uint32_t id;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return fail_errno(err, -errno, "cannot choose a name");
	r->name = path_format(RUNDIR_PREFIX "%08x", id);
	r->path = r->name ? path_format("%s/%s", parent, r->name) : NULL;
	lock = r->path ? path_format("%s/" RUNDIR_LOCK, r->path) : NULL;
	if (!lock)
		return fail(err, -ENOMEM, "out of memory");
	if (mkdirat(parent_fd, r->name, 0700) < 0)
		return fail_errno(err, -errno, "cannot make '%s'", r->path);
	r->lock_fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (r->lock_fd < 0)
		return fail_errno(err, -errno, "cannot make '%s'", lock);
	/* Whoever lists the VMs may be looking at it just now. */
	if (file_lock(r->lock_fd, true, true) < 0)
		return fail_errno(err, -errno, "cannot lock '%s'", lock);
	return 0;
}

int rundir_open_parent(char **ret_path, struct error *err)
{
	autofree char *parent = path_runtime();
	int r;

	if (!parent)
		return fail(err, -ENOMEM, "out of memory");
	r = file_make_dirs(parent, 0700);
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", parent);
	r = rundir_check_parent(parent, err);
	if (r == 0)
		*ret_path = TAKE_PTR(parent);
	return r;
}

int rundir_open(struct rundir *ret, struct error *err)
{
	autofree char *parent = NULL;
	autoclose int parent_fd = -1;
	int r;

	*ret = (struct rundir){.lock_fd = -1};
	r = rundir_open_parent(&parent, err);
	if (r < 0)
		return r;
	parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* Held only while directories appear and are swept, which takes milliseconds. */
	if (parent_fd < 0 || file_lock(parent_fd, true, true) < 0)
		return fail_errno(err, -errno, "cannot lock '%s'", parent);
	rundir_sweep(parent_fd);
	r = rundir_make(parent_fd, ret, parent, err);
	if (r < 0)
		rundir_done(ret);
	return r;
}

void rundir_done(struct rundir *r)
{
	if (r->path)
		file_remove_tree(AT_FDCWD, r->path);
	r->lock_fd = base_close(r->lock_fd);
	free(r->name);
	free(r->path);
	*r = (struct rundir){.lock_fd = -1};
}

int rundir_list(int (*each)(const char *name, const char *path, void *userdata), void *userdata,
	struct error *err)
{
	autofree char *parent = path_runtime();
	autoclose int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	struct dirent **entries;
	int n, r = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : fail_errno(err, -errno, "cannot look at '%s'", parent);
	n = scandirat(fd, ".", &entries, is_vm, alphasort);
	if (n < 0)
		return fail_errno(err, -errno, "cannot look at '%s'", parent);
	for (int i = 0; i < n; i++) {
		autofree char *path = path_format("%s/%s", parent, entries[i]->d_name);
		if (r == 0 && path && rundir_probe(fd, entries[i]->d_name) == -EWOULDBLOCK)
			r = each(entries[i]->d_name, path, userdata);
		free(entries[i]);
	}
	free(entries);
	return r;
}

struct rundir_search {
	const char *name;
	char *path;
	size_t found;
};

static int rundir_match(const char *name, const char *path, void *userdata)
{
	struct rundir_search *search = userdata;

	if (!str_after(name, search->name))
		return 0;
	free(search->path);
	search->path = strdup(path);
	search->found++;
	return 0;
}

int rundir_find(const char *name, char **ret_socket, struct error *err)
{
	struct rundir_search search = {.name = name};
	int r = rundir_list(rundir_match, &search, err);
	autofree char *path = search.path;

	if (r < 0)
		return r;
	if (search.found != 1)
		return fail(err, -ENOENT, "%s VM of yours is called '%s'; see `wnodes vm list`",
			search.found ? "more than one" : "no", name);
	*ret_socket = path ? path_format("%s/" RUNDIR_SOCKET, path) : NULL;
	return *ret_socket ? 0 : fail(err, -ENOMEM, "out of memory");
}
