/* Starting and awaiting other programs.
 *
 * fork and exec instead of posix_spawn: the latter can neither set a parent-death signal nor say
 * which step failed. Between fork and exec only async-signal-safe calls are made, so that a caller
 * with threads is safe too.
 */
#include "lib/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/deadline.h"

/* From fork to exec; only a hung file system takes longer than a moment. */
#define EXEC_TIMEOUT_MS (30 * 1000)

/* How long a killed child may take to be gone. */
#define KILL_TIMEOUT_MS (5 * 1000)

/* Where programs are if PATH is not set. */
#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

/* The two ends of what holds a child back until before_exec() has returned; -1, -1: nothing does.
 * A socket pair, as its writing does not raise SIGPIPE. */
struct child_gate {
	int ours, childs;
};

static void child_gate_done(struct child_gate *gate)
{
	gate->ours = base_close(gate->ours);
	gate->childs = base_close(gate->childs);
}

/* Moves descriptors above 2, where a child's streams will be. */
static int ends_raise(const int low[2], int *ret_first, int *ret_second)
{
	int *const ret[2] = {ret_first, ret_second};

	for (int i = 0; i < 2; i++) {
		*ret[i] = low[i] > 2 ? low[i] : fcntl(low[i], F_DUPFD_CLOEXEC, 3);
		if (*ret[i] != low[i])
			base_close(low[i]);
	}
	return *ret_first < 0 || *ret_second < 0 ? -EMFILE : 0;
}

static int child_gate_open(const struct child_spec *spec, struct child_gate *gate)
{
	int ends[2];

	if (!spec->before_exec)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	return ends_raise(ends, &gate->ours, &gate->childs);
}

/* In the child: waits for the parent's word. Its end, or a refusal, is the end of the child. */
static void child_gate_pass(const struct child_gate *gate)
{
	char word;
	ssize_t n;

	if (gate->childs < 0)
		return;
	close(gate->ours);
	do
		n = read(gate->childs, &word, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(127);
}

enum child_step { STEP_STREAMS, STEP_SETTINGS, STEP_WORKDIR, STEP_EXEC };

/* What the child tells its parent when it cannot become the program. */
struct child_failure {
	enum child_step step;
	int error;
};

/* By which others ask a process to end or to stop, and which batch systems send to all of a job. */
static const int asking_signals[] = {
	SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGALRM, SIGXCPU};

static void signals_set(const struct child_spec *spec)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t blocked;

	for (int signo = 1; signo < NSIG; signo++)
		sigaction(signo, &action, NULL);
	sigemptyset(&blocked);
	for (size_t i = 0; spec->unasked && i < ARRAY_SIZE(asking_signals); i++)
		sigaddset(&blocked, asking_signals[i]);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

/* Puts the three streams in place. Each is first copied above 2, as a source may itself be one of
 * the three numbers. */
static int streams_set(const struct child_spec *spec)
{
	const int wanted[3] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd};
	int source[3];

	for (int i = 0; i < 3; i++) {
		int fd = wanted[i];

		if (fd < 0 && i < 2)
			fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		else if (fd < 0)
			fd = STDERR_FILENO;
		source[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		/* A caller without a stderr has none to pass on. */
		if (source[i] < 0 && !(i == 2 && wanted[2] < 0))
			return -errno;
	}
	for (int i = 0; i < 3; i++)
		if (source[i] >= 0 && dup2(source[i], i) < 0)
			return -errno;
	return 0;
}

/* Marks all descriptors from 3 on to be closed by exec, but for those to keep. */
static int descriptors_set(const struct child_spec *spec)
{
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0) {
		int end = (int)sysconf(_SC_OPEN_MAX); /* Linux before 5.11 */

		for (int fd = 3; fd < end; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	for (size_t i = 0; i < spec->keep_count; i++)
		if (fcntl(spec->keep[i], F_SETFD, 0) < 0)
			return -errno;
	return 0;
}

/* The right to become any other user goes with the first. */
static int user_set(const struct child_spec *spec)
{
	if (setgroups(spec->group_count, spec->groups) < 0 ||
		setresgid(spec->gid, spec->gid, spec->gid) < 0 ||
		setresuid(spec->uid, spec->uid, spec->uid) < 0)
		return -errno;
	return 0;
}

static int settings_set(const struct child_spec *spec, pid_t parent)
{
	const struct rlimit no_core = {0, 0};
	/* First, as the kernel forgets a death signal when the user changes. */
	int r = spec->set_user ? user_set(spec) : 0;

	if (r < 0)
		return r;
	if (spec->dies_with_parent) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
			return -errno;
		/* The parent may have ended before the line above: then nobody would tell us. */
		if (getppid() != parent)
			raise(SIGKILL);
	}
	if (spec->new_session && setsid() < 0)
		return -errno;
	if (spec->no_new_privs && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
					  setrlimit(RLIMIT_CORE, &no_core) < 0))
		return -errno;
	return 0;
}

/* Finds a program as execvp(3) does, with two differences. A directory of PATH that we may not
 * search is as one without the program: execvp() would say "permission denied" of a program that
 * is not there at all. Relative entries of PATH are left out, because they would mean another
 * program in each directory. Returns 0 or negative errno. */
static int program_find(const char *name, char path[PATH_MAX])
{
	const char *search = getenv("PATH");
	struct stat st;
	int r = -ENOENT;

	if (strchr(name, '/'))
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX ? 0 : -ENAMETOOLONG;
	for (search = search ? search : PATH_DEFAULT; *search && *name;) {
		int length = (int)strcspn(search, ":");
		int n = snprintf(path, PATH_MAX, "%.*s/%s", length, search, name);

		if (*search == '/' && n < PATH_MAX && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
			if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
				return 0;
			r = -EACCES;
		}
		search += length + (search[length] == ':');
	}
	return r;
}

/* Becomes the program, or returns which step failed. */
static struct child_failure child_become(const struct child_spec *spec, const char *program,
	pid_t parent, const struct child_gate *gate)
{
	/* execve() takes no const, but changes nothing. */
	char *const *argv = (char *const *)(uintptr_t)spec->argv;
	char *const *env = spec->env ? (char *const *)(uintptr_t)spec->env : environ;
	int r;

	r = settings_set(spec, parent);
	if (r < 0)
		return (struct child_failure){STEP_SETTINGS, r};
	r = streams_set(spec);
	if (r >= 0)
		r = descriptors_set(spec);
	if (r < 0)
		return (struct child_failure){STEP_STREAMS, r};
	if (spec->workdir && chdir(spec->workdir) < 0)
		return (struct child_failure){STEP_WORKDIR, -errno};
	r = spec->before_wait ? spec->before_wait(spec->userdata) : 0;
	if (r == 0 && spec->before_wait && write(gate->childs, "", 1) < 0)
		r = -errno;
	if (r < 0)
		return (struct child_failure){STEP_SETTINGS, r};
	child_gate_pass(gate);
	r = spec->after_wait ? spec->after_wait(spec->userdata) : 0;
	if (r < 0)
		return (struct child_failure){STEP_SETTINGS, r};
	signals_set(spec);
	execve(program, argv, env);
	return (struct child_failure){STEP_EXEC, -errno};
}

static void __attribute__((noreturn)) child_main(const struct child_spec *spec, const char *program,
	pid_t parent, int status_fd, const struct child_gate *gate)
{
	struct child_failure failure = child_become(spec, program, parent, gate);

	/* If the parent cannot be told, it is gone. */
	if (write(status_fd, &failure, sizeof(failure)) < 0)
		_exit(126);
	_exit(127);
}

/* Forks with all signals blocked, so that no handler of the parent runs in the child. */
static pid_t child_fork(const struct child_spec *spec, const char *program, int status_fd,
	const struct child_gate *gate)
{
	pid_t parent = getpid(), pid;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		child_main(spec, program, parent, status_fd, gate);
	if (pid < 0)
		pid = -errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static int failure_report(
	const struct child_spec *spec, const struct child_failure *failure, struct error *err)
{
	const char *program = spec->argv[0];

	switch (failure->step) {
	case STEP_STREAMS:
		return fail_errno(err, failure->error,
			"cannot start '%s': its descriptors cannot be set up", program);
	case STEP_SETTINGS:
		return fail_errno(
			err, failure->error, "cannot start '%s' with its rights", program);
	case STEP_WORKDIR:
		return fail_errno(err, failure->error, "cannot start '%s' in directory '%s'",
			program, spec->workdir);
	case STEP_EXEC:
		break;
	}
	if (failure->error == -ENOENT)
		return fail(err, failure->error, "cannot start '%s': no such program", program);
	return fail_errno(err, failure->error, "cannot start '%s'", program);
}

/* Waits for the exec: it closes the pipe, while a failure comes through it. */
static int exec_await(const struct child_spec *spec, int status_fd, struct error *err)
{
	struct pollfd pollfd = {.fd = status_fd, .events = POLLIN};
	struct child_failure failure;
	ssize_t n;
	int r;

	r = deadline_poll(&pollfd, 1, deadline_in_ms(EXEC_TIMEOUT_MS));
	if (r == -ETIMEDOUT)
		return fail(err, r, "cannot start '%s': not done in %d s; is its file system up?",
			spec->argv[0], EXEC_TIMEOUT_MS / 1000);
	if (r < 0)
		return fail_errno(err, r, "cannot start '%s': poll", spec->argv[0]);
	do
		n = read(status_fd, &failure, sizeof(failure));
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(failure) ? failure_report(spec, &failure, err) : 0;
}

int child_pipe(int ret[2])
{
	int low[2];

	if (pipe2(low, O_CLOEXEC) < 0)
		return -errno;
	return ends_raise(low, &ret[0], &ret[1]);
}

int child_kill(int pidfd)
{
	pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	return child_wait(pidfd, KILL_TIMEOUT_MS);
}

/* Has the child come through before_wait()? */
static bool child_waits(const struct child_gate *gate)
{
	struct pollfd p = {.fd = gate->ours, .events = POLLIN};
	char word;

	return deadline_poll(&p, 1, deadline_in_ms(EXEC_TIMEOUT_MS)) > 0 &&
	       read(gate->ours, &word, 1) == 1;
}

/* Asks before_exec(), and lets the child go on. */
static int child_allow(
	const struct child_spec *spec, struct child_gate *gate, pid_t pid, struct error *err)
{
	int r;

	gate->childs = base_close(gate->childs);
	if (spec->before_wait && !child_waits(gate))
		return 0; /* it has said why, and that is read next */
	r = spec->before_exec(pid, spec->userdata, err);
	/* A child that is gone already has said why, and that is read next. */
	if (r == 0 && send(gate->ours, "", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE)
		r = fail_errno(err, -errno, "cannot start '%s': send", spec->argv[0]);
	return r;
}

int child_spawn(const struct child_spec *spec, pid_t *ret_pid, int *ret_pidfd, struct error *err)
{
	autoclose int read_end = -1, write_end = -1, pidfd = -1;
	struct child_gate gate AUTO(child_gate_done) = {-1, -1};
	struct child_failure missing = {.step = STEP_EXEC};
	int ends[2] = {-1, -1};
	char program[PATH_MAX];
	pid_t pid;
	int r;

	missing.error = program_find(spec->argv[0], program);
	if (missing.error < 0)
		return failure_report(spec, &missing, err);
	r = child_pipe(ends);
	read_end = ends[0];
	write_end = ends[1];
	if (r == 0)
		r = child_gate_open(spec, &gate);
	if (r < 0)
		return fail_errno(err, r, "cannot start '%s': pipe", spec->argv[0]);
	pid = child_fork(spec, program, write_end, &gate);
	if (pid < 0)
		return fail_errno(err, pid, "cannot start '%s': fork", spec->argv[0]);
	write_end = base_close(write_end);
	/* Safe against reuse of the number: until we wait for it, the child is ours. */
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		r = -errno;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return fail_errno(err, r, "cannot start '%s': pidfd", spec->argv[0]);
	}
	r = spec->before_exec ? child_allow(spec, &gate, pid, err) : 0;
	if (r == 0)
		r = exec_await(spec, read_end, err);
	if (r < 0) {
		child_kill(pidfd);
		return r;
	}
	if (ret_pid)
		*ret_pid = pid;
	*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}

int child_wait(int pidfd, int timeout_ms)
{
	struct pollfd pollfd = {.fd = pidfd, .events = POLLIN};
	siginfo_t info = {0};
	int r;

	r = deadline_poll(&pollfd, 1, deadline_in_ms(timeout_ms));
	if (r < 0)
		return r;
	do
		r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	/* The form that WIFEXITED() and the others take. */
	if (info.si_code == CLD_EXITED)
		return (info.si_status & 0xff) << 8;
	return info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
}
