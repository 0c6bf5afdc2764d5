/* Crowds: many files, many that are open, deep paths. */
#include <dirent.h>
#include <sys/resource.h>

#include "posix.h"

#define OPEN_FILES 10000

/* Of the slowest gateway, in a guest under emulation on a busy machine. */
#define FILES_A_SECOND 10
#define LIMIT_S        60

/* 100,000 where there is time (POSIX_FILES), else a few. */
static int wanted_files(void)
{
	const char *text = getenv("POSIX_FILES");

	return text ? atoi(text) : 2000;
}

static int count_entries(void)
{
	DIR *dir = opendir(".");
	int count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count - 2;
}

static int many_files(void)
{
	int wanted = wanted_files();
	char name[32];

	alarm((unsigned int)(LIMIT_S + wanted / FILES_A_SECOND));
	for (int i = 0; i < wanted; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		if (close(make(name, "x")) < 0)
			return -1;
	}
	errno = 0;
	if (count_entries() != wanted)
		return broken("of %d files %d are shown", wanted, count_entries());
	for (int i = 0; i < wanted; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		if (unlink(name) < 0)
			return broken("cannot remove %s", name);
	}
	return count_entries() == 0 ? 0 : broken("%d files are left", count_entries());
}

static int many_open_files(void)
{
	struct rlimit limit;
	char name[32];
	int fd, wanted = OPEN_FILES;

	alarm(LIMIT_S + OPEN_FILES / FILES_A_SECOND);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return broken("getrlimit");
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < OPEN_FILES + 20)
		wanted = (int)limit.rlim_max - 20;
	for (int i = 0; i < wanted; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		fd = open(name, O_RDWR | O_CREAT, 0600);
		if (fd < 0)
			return broken("of %d files %d could be opened", wanted, i);
	}
	errno = 0;
	return wanted == OPEN_FILES ? 0 : (broken("only %d may be open here", wanted), SKIPPED);
}

static int deep_paths(void)
{
	for (int i = 0; i < 60; i++)
		if (mkdir("a-directory-with-a-name-of-some-length", 0755) < 0 ||
			chdir("a-directory-with-a-name-of-some-length") < 0)
			return broken("at depth %d", i);
	return make("file", "x") < 0 ? -1 : 0;
}

const struct expectation crowds[] = {
	{"many_files", many_files},
	{"many_open_files", many_open_files},
	{"deep_paths", deep_paths},
	{NULL, NULL},
};
