/* The directory of templates, and locks on what is in it.
 *
 * Entries are renamed while others look at them. Two rules make that safe: who has locked an entry
 * checks that its name still stands for it, and who renames an entry has it locked. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/deadline.h"
#include "lib/file.h"
#include "vm/template_private.h"

#define LOCK_POLL_US 500

int template_directory_open(const char *directory, bool make, struct error *err)
{
	int r = make ? file_make_dirs(directory, 0700) : 0;

	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", directory);
	return template_directory_open_of(directory, geteuid(), err);
}

int template_directory_open_of(const char *directory, uid_t owner, struct error *err)
{
	autoclose int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "cannot open the templates in '%s'", directory);
	if (st.st_uid != owner || (st.st_mode & 022))
		return fail(err, -EPERM,
			"'%s' is not a directory that only you can write to, so no templates are kept "
			"in it",
			directory);
	return TAKE_FD(fd);
}

bool template_is_at(int dir_fd, int parent_fd, const char *name)
{
	struct stat held, named;

	return fstat(dir_fd, &held) == 0 &&
	       fstatat(parent_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* One try. Returns the descriptor, -EWOULDBLOCK, -ESTALE if the name changed meanwhile, or another
 * negative errno. */
static int lock_once(int parent_fd, const char *name, bool exclusive)
{
	autoclose int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : file_lock(fd, exclusive, false);

	if (r < 0 && r != -EWOULDBLOCK)
		return r;
	if (!template_is_at(fd, parent_fd, name))
		return -ESTALE;
	return r < 0 ? r : TAKE_FD(fd);
}

int template_lock(int parent_fd, const char *name, bool exclusive, int wait_ms)
{
	const struct timespec pause = {.tv_nsec = LOCK_POLL_US * 1000L};
	uint64_t deadline = deadline_in_ms(wait_ms);
	bool again = false;

	for (;;) {
		int r = lock_once(parent_fd, name, exclusive);

		if (r != -EWOULDBLOCK && r != -ESTALE)
			return r;
		/* A name that changed is looked at again at least once: that is no wait. */
		if (deadline_left_ms(deadline) == 0 && (r == -EWOULDBLOCK || again))
			return -EWOULDBLOCK;
		if (again)
			nanosleep(&pause, NULL);
		again = true;
	}
}

int template_bury(int parent_fd, const char *name, char *ret_name)
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -EIO;
	snprintf(ret_name, TEMPLATE_NAME_MAX, TEMPLATE_DEAD "%016" PRIx64, number);
	return renameat(parent_fd, name, parent_fd, ret_name) < 0 ? -errno : 0;
}

int template_remove_locked(int parent_fd, const char *name)
{
	char dead[TEMPLATE_NAME_MAX];
	int r = str_after(name, TEMPLATE_DEAD) ? -EEXIST : template_bury(parent_fd, name, dead);

	/* On a full disk there may be no room for another name. */
	return file_remove_tree(parent_fd, r < 0 ? name : dead);
}

static int any_entry(const struct dirent *entry)
{
	return !streq(entry->d_name, ".") && !streq(entry->d_name, "..");
}

int template_each_entry(
	int dir_fd, int (*each)(int dir_fd, const char *name, void *userdata), void *userdata)
{
	struct dirent **entries;
	int n = scandirat(dir_fd, ".", &entries, any_entry, alphasort), r = 0;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = each(dir_fd, entries[i]->d_name, userdata);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int add_bytes(int dir_fd, const char *name, void *userdata)
{
	uint64_t *bytes = userdata;
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		*bytes += (uint64_t)st.st_blocks * 512;
	return 0;
}

uint64_t template_bytes(int dir_fd)
{
	uint64_t bytes = 0;

	(void)template_each_entry(dir_fd, add_bytes, &bytes);
	return bytes;
}
