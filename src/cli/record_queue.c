#include "cli/record_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "lib/file.h"
#include "lib/path.h"
#include "lib/timestamp.h"

#define SECOND_US      UINT64_C(1000000)
#define DIRECTORY_S    60 /* one directory for the messages of a minute */
#define DIRECTORY_MODE 0770
#define MESSAGE_MODE   0640

/* The name has five hex digits of microseconds and one that is random: how often another is tried.
 */
#define NAMES_MAX 100

static int message_write(int dir_fd, const char *name, const void *text, size_t length)
{
	autoclose int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, MESSAGE_MODE);
	int r = fd < 0 ? -errno : file_write_all(fd, text, length);

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0 && r != -EEXIST)
		unlinkat(dir_fd, name, 0);
	return r;
}

/* Gives the message its name, never one that another has. */
static int message_rename(int dir_fd, const char *from, const char *to)
{
	int r = renameat2(dir_fd, from, dir_fd, to, RENAME_NOREPLACE) < 0 ? -errno : 0;

	/* Not all file systems can. */
	if (r == -EINVAL || r == -ENOSYS)
		r = linkat(dir_fd, from, dir_fd, to, 0) < 0 ? -errno : unlinkat(dir_fd, from, 0);
	return r;
}

/* Under a name that is not taken. */
static int message_add(int dir_fd, const void *text, size_t length)
{
	char temporary[64], name[32];
	int r;

	for (int i = 0; i < NAMES_MAX; i++) {
		uint64_t now_us = timestamp_now_us();
		uint8_t random = 0;

		if (getrandom(&random, sizeof(random), 0) < 0)
			return -errno;
		snprintf(name, sizeof(name), "%08" PRIx64 "%05" PRIx64 "%x",
			now_us / SECOND_US & 0xffffffff, now_us % SECOND_US, random & 0xf);
		snprintf(temporary, sizeof(temporary), "%s.tmp", name);
		r = message_write(dir_fd, temporary, text, length);
		if (r == 0) {
			r = message_rename(dir_fd, temporary, name);
			if (r < 0)
				unlinkat(dir_fd, temporary, 0);
		}
		if (r != -EEXIST)
			return r < 0 || fsync(dir_fd) == 0 ? r : -errno;
	}
	return -EEXIST;
}

int record_queue_add(const char *directory, const void *text, size_t length, struct error *err)
{
	uint64_t now_s = timestamp_now_us() / SECOND_US;
	autofree char *path =
		path_format("%s/%08" PRIx64, directory, (now_s - now_s % DIRECTORY_S) & 0xffffffff);
	autoclose int fd = -1;
	int r = path ? file_make_dirs(path, DIRECTORY_MODE) : -ENOMEM;

	if (r == 0) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = fd < 0 ? -errno : message_add(fd, text, length);
	}
	return r < 0 ? fail_errno(err, r, "cannot add a message to the queue '%s'", directory) : 0;
}
