/* What programs expect of a directory: posix DIRECTORY [GROUP|NAME...]
 *
 * Each expectation is a function that runs in a process of its own, in a fresh directory, with a
 * time limit, and a line of TAP: so one that hangs or crashes says no more than that. It is run in
 * VMs, in directories of the host that came by each of the gateways. */
#include "posix.h"

#include <signal.h>
#include <sys/wait.h>

#define SECONDS_MAX 120

const struct group groups[] = {
	{"names", names},
	{"contents", contents},
	{"locks", locks},
	{"attributes", attributes},
	{"crowds", crowds},
	{NULL, NULL},
};

static char why[256];

int broken(const char *format, ...)
{
	va_list arguments;
	int error = errno;
	size_t n;

	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	n = strlen(why);
	if (error)
		snprintf(why + n, sizeof(why) - n, ": %s", strerror(error));
	return -1;
}

int make(const char *path, const char *text)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);

	if (fd < 0)
		return broken("cannot make %s", path);
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
		close(fd);
		return broken("cannot write %s", path);
	}
	return fd;
}

int reads(int fd, off_t at, const char *text)
{
	char got[64] = "";
	ssize_t n = pread(fd, got, sizeof(got) - 1, at);

	if (n < 0)
		return broken("cannot read");
	errno = 0;
	return strcmp(got, text) == 0 ? 0 : broken("read '%s', not '%s'", got, text);
}

int child_says(int (*function)(void *), void *argument)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return broken("cannot fork");
	if (pid == 0)
		_exit(function(argument));
	if (waitpid(pid, &status, 0) < 0)
		return broken("cannot wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* In the child: 0 it holds, 1 it does not, 77 it cannot be tried here; why is written to `fd`. */
static void run(const struct expectation *e, int fd)
{
	int r;

	errno = 0;
	alarm(SECONDS_MAX);
	r = e->run();
	if (r != 0 && write(fd, why, strlen(why)) < 0)
		_exit(1);
	_exit(r == 0 ? 0 : r == SKIPPED ? 77 : 1);
}

static int judge(const struct expectation *e, int number, int status, const char *reason)
{
	bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == 77;

	printf("%sok %d - %s", fine || skipped ? "" : "not ", number, e->name);
	if (skipped)
		printf(" # skip %s", reason);
	else if (WIFSIGNALED(status))
		printf(" # %s",
			WTERMSIG(status) == SIGALRM ? "it hangs" : strsignal(WTERMSIG(status)));
	else if (!fine)
		printf(" # %s", reason);
	putchar('\n');
	fflush(stdout);
	return fine || skipped ? 0 : 1;
}

static int attempt(const struct expectation *e, int number, const char *directory)
{
	char path[4096], reason[256] = "";
	int ends[2], status = 0;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/%s", directory, e->name);
	if (mkdir(path, 0755) < 0 || chdir(path) < 0 || pipe(ends) < 0) {
		printf("not ok %d - %s # %s: %s\n", number, e->name, path, strerror(errno));
		return 1;
	}
	pid = fork();
	if (pid == 0)
		run(e, ends[1]);
	close(ends[1]);
	if (pid < 0 || read(ends[0], reason, sizeof(reason) - 1) < 0 ||
		waitpid(pid, &status, 0) < 0)
		status = 1 << 8;
	close(ends[0]);
	return judge(e, number, status, reason);
}

static bool is_wanted(const struct group *g, const char *name, char **asked)
{
	for (char **a = asked; *a; a++)
		if (strcmp(*a, name) == 0 || strcmp(*a, g->name) == 0)
			return true;
	return !*asked;
}

int main(int argc, char **argv)
{
	char *directory = argc > 1 ? realpath(argv[1], NULL) : NULL;
	int number = 0, failed = 0;

	if (!directory) {
		fprintf(stderr, "use: posix DIRECTORY [GROUP|NAME...]\n");
		return 2;
	}
	for (const struct group *g = groups; g->name; g++)
		for (const struct expectation *e = g->expectations; e->name; e++)
			if (is_wanted(g, e->name, argv + 2))
				failed += attempt(e, ++number, directory);
	printf("1..%d\n", number);
	free(directory);
	return failed ? 1 : 0;
}
