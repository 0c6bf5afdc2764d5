/* Names: what rename, link, unlink and their like promise. */
#include <dirent.h>

#include "posix.h"

static int exclusive_creation(void)
{
	int fd = make("a", "x");

	if (fd < 0)
		return -1;
	errno = 0;
	if (open("a", O_RDWR | O_CREAT | O_EXCL, 0644) >= 0 || errno != EEXIST)
		return broken("a second one is made, or refused for another reason");
	return 0;
}

static int rename_replaces(void)
{
	int old = make("old", "old"), new = make("new", "new");

	if (old < 0 || new < 0)
		return -1;
	if (rename("new", "old") < 0)
		return broken("rename");
	/* Who has the replaced one open goes on with it. */
	return reads(old, 0, "old") < 0 || reads(open("old", O_RDONLY), 0, "new") < 0 ? -1 : 0;
}

static int rename_open_file(void)
{
	int fd = make("a", "text");

	if (fd < 0)
		return -1;
	if (rename("a", "b") < 0)
		return broken("rename");
	if (pwrite(fd, "TEXT", 4, 0) != 4)
		return broken("write after rename");
	return reads(open("b", O_RDONLY), 0, "TEXT");
}

static int rename_directory(void)
{
	int fd;

	if (mkdir("d", 0755) < 0 || (fd = make("d/a", "x")) < 0)
		return broken("mkdir");
	if (rename("d", "e") < 0)
		return broken("rename");
	if (access("e/a", F_OK) < 0 || access("d", F_OK) == 0)
		return broken("not there under its new name");
	if (mkdir("f", 0755) < 0 || make("f/b", "y") < 0)
		return broken("mkdir");
	errno = 0;
	if (rename("e", "f") == 0 || (errno != ENOTEMPTY && errno != EEXIST))
		return broken("replaces a directory that is not empty");
	return 0;
}

static int unlink_open_file(void)
{
	int fd = make("a", "text");
	struct stat s;

	if (fd < 0)
		return -1;
	if (unlink("a") < 0)
		return broken("unlink");
	if (pwrite(fd, "TEXT", 4, 0) != 4 || reads(fd, 0, "TEXT") < 0)
		return broken("the file is gone for who has it open");
	if (fstat(fd, &s) < 0)
		return broken("fstat");
	errno = 0;
	return access("a", F_OK) < 0 && errno == ENOENT ? 0 : broken("the name is still there");
}

static int remove_directory_of_unlinked(void)
{
	int fd;

	if (mkdir("d", 0755) < 0 || (fd = make("d/a", "x")) < 0)
		return -1;
	if (unlink("d/a") < 0)
		return broken("unlink");
	return rmdir("d") == 0 ? 0 : broken("rmdir, with a file of it still open");
}

static int hard_links(void)
{
	int fd = make("a", "x");
	struct stat a, b;

	if (fd < 0)
		return -1;
	if (link("a", "b") < 0)
		return broken("link");
	if (stat("a", &a) < 0 || stat("b", &b) < 0)
		return broken("stat");
	errno = 0;
	if (a.st_ino != b.st_ino || a.st_nlink != 2)
		return broken("they are not one file of two links");
	return 0;
}

static int symbolic_links(void)
{
	char target[64] = "";

	if (make("a", "x") < 0)
		return -1;
	if (symlink("a", "s") < 0)
		return broken("symlink");
	if (readlink("s", target, sizeof(target) - 1) != 1 || strcmp(target, "a") != 0)
		return broken("readlink gives '%s'", target);
	if (reads(open("s", O_RDONLY), 0, "x") < 0)
		return -1;
	errno = 0;
	if (open("s", O_RDONLY | O_NOFOLLOW) >= 0 || errno != ELOOP)
		return broken("O_NOFOLLOW follows");
	return 0;
}

static int fifo(void)
{
	struct stat s;

	if (mkfifo("f", 0600) < 0)
		return broken("mkfifo");
	if (stat("f", &s) < 0 || !S_ISFIFO(s.st_mode))
		return broken("it is no fifo");
	return 0;
}

static int long_names(void)
{
	char name[256];
	int fd;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	fd = make(name, "x");
	if (fd < 0)
		return -1;
	close(fd);
	return unlink(name) == 0 ? 0 : broken("unlink");
}

static int odd_names(void)
{
	static const char *const list[] = {
		"a b", "-", "\n", "\xff\xfe", "caf\xc3\xa9", "CASE", "case", "a:b", "*"};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (make(list[i], "x") < 0)
			return -1;
	return 0;
}

/* A directory that is read while others come and go shows each that stays once. */
static int directory_while_it_changes(void)
{
	int seen[200] = {0}, number;
	struct dirent *e;
	char name[32];
	DIR *dir;

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "stays%d", i);
		close(make(name, "x"));
	}
	dir = opendir(".");
	for (int i = 0; dir && (e = readdir(dir)); i++) {
		snprintf(name, sizeof(name), "comes%d", i);
		if (sscanf(e->d_name, "stays%d", &number) == 1)
			seen[number]++;
		if (i < 500)
			close(make(name, "x"));
	}
	errno = 0;
	for (int i = 0; i < 200; i++)
		if (seen[i] != 1)
			return broken("a file is shown %d times", seen[i]);
	return closedir(dir);
}

static int directory_can_be_synced(void)
{
	int dir = open(".", O_RDONLY | O_DIRECTORY);

	return dir >= 0 && make("a", "x") >= 0 && fsync(dir) == 0 ? 0
								  : broken("fsync of a directory");
}

static int nameless_file(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);
	char path[64];

	if (fd < 0) {
		broken("O_TMPFILE");
		return errno == EOPNOTSUPP || errno == EISDIR ? SKIPPED : -1;
	}
	if (write(fd, "x", 1) != 1)
		return broken("write");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) < 0)
		return broken("cannot be given a name");
	return reads(open("named", O_RDONLY), 0, "x");
}

const struct expectation names[] = {
	{"exclusive_creation", exclusive_creation},
	{"rename_replaces", rename_replaces},
	{"rename_open_file", rename_open_file},
	{"rename_directory", rename_directory},
	{"unlink_open_file", unlink_open_file},
	{"remove_directory_of_unlinked", remove_directory_of_unlinked},
	{"hard_links", hard_links},
	{"symbolic_links", symbolic_links},
	{"fifo", fifo},
	{"long_names", long_names},
	{"odd_names", odd_names},
	{"directory_while_it_changes", directory_while_it_changes},
	{"directory_can_be_synced", directory_can_be_synced},
	{"nameless_file", nameless_file},
	{NULL, NULL},
};
