/* Locks: of records, of whole files, of descriptions; between processes of one VM. */
#include <sys/file.h>

#include "posix.h"

static int record_is_free(void *unused)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 4};
	int fd = open("a", O_RDWR);

	return fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 1;
}

static int other_record_is_free(void *unused)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 4};
	int fd = open("a", O_RDWR);

	return fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 1;
}

static int record_locks(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
	int fd = make("a", "0123456789");

	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETLK, &lock) < 0)
		return broken("lock");
	if (child_says(record_is_free, NULL) != 1)
		return broken("two processes have one lock");
	if (child_says(other_record_is_free, NULL) != 0)
		return broken("another record is locked, too");
	lock.l_type = F_UNLCK;
	if (fcntl(fd, F_SETLK, &lock) < 0 || child_says(record_is_free, NULL) != 0)
		return broken("unlock");
	return 0;
}

static int record_lock_ends_with_its_process(void)
{
	if (make("a", "0123456789") < 0)
		return -1;
	if (child_says(record_is_free, NULL) != 0)
		return broken("lock");
	return child_says(record_is_free, NULL) == 0 ? 0 : broken("it is still locked");
}

static int file_is_free(void *unused)
{
	int fd = open("a", O_RDWR);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : 1;
}

static int file_locks(void)
{
	int fd = make("a", "x");

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX) < 0)
		return broken("flock");
	if (child_says(file_is_free, NULL) != 1)
		return broken("two processes have one lock");
	close(fd);
	return child_says(file_is_free, NULL) == 0 ? 0 : broken("it is still locked");
}

static int description_locks(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int a = make("a", "x"), b = open("a", O_RDWR);

	if (a < 0 || b < 0)
		return broken("open");
	if (fcntl(a, F_OFD_SETLK, &lock) < 0)
		return broken("lock");
	errno = 0;
	if (fcntl(b, F_OFD_SETLK, &lock) == 0)
		return broken("two have one lock");
	return 0;
}

static int lease(void)
{
	int fd = make("a", "x");

	if (fd < 0)
		return -1;
	close(fd);
	fd = open("a", O_RDONLY);
	if (fd >= 0 && fcntl(fd, F_SETLEASE, F_RDLCK) == 0)
		return 0;
	broken("lease");
	return SKIPPED;
}

const struct expectation locks[] = {
	{"record_locks", record_locks},
	{"record_lock_ends_with_its_process", record_lock_ends_with_its_process},
	{"file_locks", file_locks},
	{"description_locks", description_locks},
	{"lease", lease},
	{NULL, NULL},
};
