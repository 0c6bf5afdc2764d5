/* Attributes: modes, times, owners, extended attributes. */
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "posix.h"

static int modes(void)
{
	int fd = make("a", "x");
	struct stat s;

	if (fd < 0 || fchmod(fd, 0640) < 0 || fstat(fd, &s) < 0)
		return broken("fchmod");
	errno = 0;
	if ((s.st_mode & 07777) != 0640)
		return broken("the mode is %o", s.st_mode & 07777);
	if (mkdir("d", 01777) < 0 || chmod("d", 01777) < 0 || stat("d", &s) < 0)
		return broken("mkdir");
	errno = 0;
	return (s.st_mode & 07777) == 01777 ? 0
					    : broken("a directory's mode is %o", s.st_mode & 07777);
}

static int mask_of_creation(void)
{
	struct stat s;

	umask(027);
	if (open("a", O_RDWR | O_CREAT, 0666) < 0 || stat("a", &s) < 0)
		return broken("open");
	errno = 0;
	return (s.st_mode & 07777) == 0640 ? 0 : broken("the mode is %o", s.st_mode & 07777);
}

static int owner_is_its_maker(void)
{
	struct stat s;

	if (make("a", "x") < 0 || stat("a", &s) < 0)
		return -1;
	errno = 0;
	return s.st_uid == geteuid() ? 0
				     : broken("it is of user %u, not of %u", s.st_uid, geteuid());
}

static int times_are_kept(void)
{
	const struct timespec times[2] = {{.tv_sec = 1000000000, .tv_nsec = 123456789},
		{.tv_sec = 1234567890, .tv_nsec = 987654321}};
	struct stat s;

	if (make("a", "x") < 0)
		return -1;
	if (utimensat(AT_FDCWD, "a", times, 0) < 0 || stat("a", &s) < 0)
		return broken("utimensat");
	errno = 0;
	if (s.st_mtim.tv_sec != 1234567890 || s.st_atim.tv_sec != 1000000000)
		return broken("the time is another one");
	return s.st_mtim.tv_nsec == 987654321
		       ? 0
		       : broken("of a time %ld ns are left", s.st_mtim.tv_nsec);
}

static int writing_changes_the_time(void)
{
	const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	int fd = make("a", "x");
	struct stat s;

	if (fd < 0 || futimens(fd, times) < 0 || write(fd, "y", 1) != 1 || fsync(fd) < 0 ||
		fstat(fd, &s) < 0)
		return broken("write");
	errno = 0;
	return s.st_mtim.tv_sec > 1000000000 ? 0 : broken("it is as old as before");
}

static int user_attributes(void)
{
	char value[16] = "", list[64] = "";

	if (make("a", "x") < 0)
		return -1;
	if (setxattr("a", "user.note", "hello", 5, 0) < 0) {
		broken("setxattr");
		return errno == EOPNOTSUPP ? SKIPPED : -1;
	}
	if (getxattr("a", "user.note", value, sizeof(value)) != 5 || memcmp(value, "hello", 5) != 0)
		return broken("getxattr");
	if (listxattr("a", list, sizeof(list)) < 10)
		return broken("listxattr");
	if (removexattr("a", "user.note") < 0)
		return broken("removexattr");
	return 0;
}

static int size_of_the_file_system(void)
{
	struct statvfs s;

	if (statvfs(".", &s) < 0)
		return broken("statvfs");
	errno = 0;
	return s.f_blocks > 0 && s.f_bavail <= s.f_blocks
		       ? 0
		       : broken("%llu blocks", (unsigned long long)s.f_blocks);
}

static int inode_stays(void)
{
	int fd = make("a", "x");
	struct stat before, after;

	if (fd < 0 || fstat(fd, &before) < 0 || rename("a", "b") < 0 || stat("b", &after) < 0)
		return broken("rename");
	errno = 0;
	return before.st_ino == after.st_ino && before.st_dev == after.st_dev
		       ? 0
		       : broken("it is another one");
}

const struct expectation attributes[] = {
	{"modes", modes},
	{"mask_of_creation", mask_of_creation},
	{"owner_is_its_maker", owner_is_its_maker},
	{"times_are_kept", times_are_kept},
	{"writing_changes_the_time", writing_changes_the_time},
	{"user_attributes", user_attributes},
	{"size_of_the_file_system", size_of_the_file_system},
	{"inode_stays", inode_stays},
	{NULL, NULL},
};
