#include "image/workdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "image/store_private.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

#define WORKDIR_LINK   "outside"
#define WORKDIR_PREFIX "wnodes-build-"

/* Deeper than any file system tree of ours; a bound for the recursion. */
#define WORKDIR_DEPTH_MAX 64

#define REMOVE_TIMEOUT_MS 120000

/* Files of other users (of our range in /etc/subuid) can be removed by mmdebstrap's own helper,
 * which enters the user namespace that made them. It cannot remove what lies directly in our own
 * directory, but empties it, and then the rest is ours. */
static void remove_foreign(const char *directory)
{
	const char *const argv[] = {"mmdebstrap", "--unshare-helper", "find", directory,
		"-mindepth", "2", "-delete", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error ignored;

	spec.argv = argv;
	(void)child_run(&spec, REMOVE_TIMEOUT_MS, &ignored);
}

/* Removes the directory that the link in `dir_fd` names, if it is one of ours. */
static int remove_outside(int dir_fd)
{
	char path[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, WORKDIR_LINK, path, sizeof(path) - 1);
	const char *base;
	struct stat st;
	int r;

	if (n < 0)
		return 0;
	path[n] = '\0';
	base = strrchr(path, '/');
	if (!base || !str_after(base + 1, WORKDIR_PREFIX) || lstat(path, &st) < 0 ||
		!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return 0;
	r = file_remove_tree(AT_FDCWD, path);
	if (r < 0 && geteuid() != 0) {
		remove_foreign(path);
		r = file_remove_tree(AT_FDCWD, path);
	}
	return r;
}

/* The link is made before the directory: a crash between the two leaves nothing unnamed. */
static int make_outside(struct workdir *w, struct error *err)
{
	const char *tmp = getenv("TMPDIR");
	const char *suffix = strrchr(w->path, '-') + 1;

	w->outside = path_format(
		"%s/" WORKDIR_PREFIX "%s", tmp && tmp[0] == '/' ? tmp : "/var/tmp", suffix);
	if (!w->outside)
		return fail(err, -ENOMEM, "out of memory");
	if (symlinkat(w->outside, w->fd, WORKDIR_LINK) < 0)
		return fail_errno(err, -errno, "cannot write to '%s'", w->path);
	/* chmod as well: the mode must be so whatever the umask is */
	if (mkdir(w->outside, 0755) < 0 || chmod(w->outside, 0755) < 0)
		return fail_errno(err, -errno, "cannot make '%s'", w->outside);
	return 0;
}

static int make_inside(struct store *s, struct workdir *w, struct error *err)
{
	w->path = path_format("%s/" STORE_TMP "/build-XXXXXX", s->directory);
	if (!w->path)
		return fail(err, -ENOMEM, "out of memory");
	if (!mkdtemp(w->path)) {
		free(TAKE_PTR(w->path));
		return fail_errno(err, -errno, "cannot write to '%s/" STORE_TMP "'", s->directory);
	}
	w->fd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return w->fd < 0 ? -errno : file_lock(w->fd, true, false);
}

int workdir_open(struct store *s, struct workdir **ret, struct error *err)
{
	struct workdir *w AUTO(workdir_freep) = calloc(1, sizeof(*w));
	bool was_held = s->held;
	int r;

	if (!w)
		return fail(err, -ENOMEM, "out of memory");
	w->fd = -1;
	r = store_hold(s, err);
	if (r < 0)
		return r;
	r = make_inside(s, w, err);
	if (!was_held)
		store_release(s);
	if (r >= 0)
		r = make_outside(w, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

struct workdir *workdir_free(struct workdir *w)
{
	if (!w)
		return NULL;
	if (w->fd >= 0 && remove_outside(w->fd) == 0)
		file_remove_tree(AT_FDCWD, w->path);
	base_close(w->fd);
	free(w->path);
	free(w->outside);
	free(w);
	return NULL;
}

char *workdir_file(const struct workdir *w, const char *name)
{
	return path_format("%s/%s", w->path, name);
}

static uint64_t tree_bytes(int dir_fd, const char *name, unsigned depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	struct stat st;
	uint64_t bytes = 0;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		bytes = (uint64_t)st.st_blocks * 512;
	if (!directory) {
		base_close(fd);
		return bytes;
	}
	while (depth < WORKDIR_DEPTH_MAX && (entry = readdir(directory)))
		if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
			bytes += tree_bytes(fd, entry->d_name, depth + 1);
	closedir(directory);
	return bytes;
}

int workdir_remove_stale(int dir_fd, const char *name, bool dry_run, uint64_t *ret_bytes)
{
	autoclose int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int r;

	if (fd < 0)
		return errno == ENOENT ? -EWOULDBLOCK : -errno;
	r = file_lock(fd, true, false);
	if (r < 0)
		return r;
	*ret_bytes = tree_bytes(dir_fd, name, 0);
	if (dry_run)
		return 0;
	r = remove_outside(fd);
	return r < 0 ? r : file_remove_tree(dir_fd, name);
}
