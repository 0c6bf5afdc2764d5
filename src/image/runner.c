#include "image/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "image/watcher.h"
#include "lib/child.h"
#include "lib/deadline.h"

#define RUNNER_POLL_MS    200
#define RUNNER_GRACE_MS   15000 /* to remove its temporary files */
#define RUNNER_TAIL_BYTES (16 * 1024)

/* mmdebstrap says at the end that it failed; what matters stands before that. */
static const char *const wrap_ups[] = {"I: ", "E: setup failed", "E: mmdebstrap failed"};

static bool is_wrap_up(const char *line)
{
	for (size_t i = 0; i < ARRAY_SIZE(wrap_ups); i++)
		if (str_after(line, wrap_ups[i]))
			return true;
	return false;
}

static const char *next_line(const char *line)
{
	line += strcspn(line, "\n");
	return line + (*line == '\n');
}

void runner_reason(const char *log, char ret[RUNNER_REASON_MAX])
{
	const char *last = "", *before = "";

	for (const char *line = log; *line; line = next_line(line)) {
		if (is_wrap_up(line) || strcspn(line, "\r\n") == 0)
			continue;
		before = last;
		last = line;
		if (str_after(line, "E: ")) {
			before = "";
			last = line + 3;
			break;
		}
	}
	snprintf(ret, RUNNER_REASON_MAX, "%.*s%s%.*s", (int)strcspn(before, "\r\n"), before,
		before[0] ? "; " : "", (int)strcspn(last, "\r\n"), last);
}

/* Reads what the log got since `start`, at most its last part. */
static char *log_tail(const struct runner *r, off_t start)
{
	struct stat st;
	char *text = calloc(1, RUNNER_TAIL_BYTES + 1);

	if (!text || fstat(r->log_fd, &st) < 0)
		return text;
	start = MAX_OF(start, st.st_size - RUNNER_TAIL_BYTES);
	if (pread(r->log_fd, text, RUNNER_TAIL_BYTES, start) < 0)
		text[0] = '\0';
	return text;
}

/* Waits in small steps, because a signal may ask to stop. Returns the wait status or -errno. */
static int runner_wait(const struct runner *r, int pidfd)
{
	uint64_t waited_ms = 0;
	int status = -ETIMEDOUT;

	while (status == -ETIMEDOUT && waited_ms < r->timeout_ms && !(r->cancel && *r->cancel)) {
		status = child_wait(pidfd, RUNNER_POLL_MS);
		waited_ms += RUNNER_POLL_MS;
	}
	return status;
}

/* Waits for the end without reaping: until then the pid, and the group's number, stay ours. */
static void await_end(int pidfd, int timeout_ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	(void)deadline_poll(&p, 1, deadline_in_ms(timeout_ms));
}

/* Stops the program with all that it has started: mmdebstrap waits for its own children, but does
 * not pass the signal on. */
static void runner_stop(pid_t pid, int pidfd)
{
	kill(-pid, SIGTERM);
	await_end(pidfd, RUNNER_GRACE_MS);
	kill(-pid, SIGKILL);
	child_wait(pidfd, RUNNER_GRACE_MS);
}

static int runner_explain(
	const struct runner *r, const char *program, int status, off_t start, struct error *err)
{
	autofree char *log = log_tail(r, start);
	char reason[RUNNER_REASON_MAX] = "";

	if (log)
		runner_reason(log, reason);
	if (WIFSIGNALED(status))
		return fail(err, -EIO, "%s was killed by signal %d (log: %s)", program,
			WTERMSIG(status), r->log_path);
	return fail(err, -EIO, "%s failed with status %d: %s (log: %s)", program,
		WEXITSTATUS(status), reason[0] ? reason : "it does not say why", r->log_path);
}

/* Starts the program and waits for its end. Returns the wait status, or negative errno. */
static int run_watched(
	const struct runner *r, const struct child_spec *spec, struct watcher *w, struct error *err)
{
	autoclose int pidfd = -1;
	pid_t pid;
	int status = child_spawn(spec, &pid, &pidfd, err);

	if (status < 0)
		return status;
	watcher_set_group(w, pid);
	status = runner_wait(r, pidfd);
	if (status != -ETIMEDOUT)
		return status < 0 ? fail_errno(err, status, "cannot wait for %s", spec->argv[0])
				  : status;
	runner_stop(pid, pidfd);
	if (r->cancel && *r->cancel)
		return fail(err, -ECANCELED, "cancelled");
	return fail(err, status, "%s was stopped after %llu minutes (log: %s)", spec->argv[0],
		(unsigned long long)r->timeout_ms / 60000, r->log_path);
}

int runner_run(const struct runner *r, const char *const *argv, struct error *err)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	off_t start = lseek(r->log_fd, 0, SEEK_END);
	struct watcher watcher;
	int status = watcher_start(&watcher);

	if (status < 0)
		return fail_errno(err, status, "cannot start a process");
	spec.argv = argv;
	spec.env = r->env ? strv_list(r->env) : NULL;
	spec.workdir = r->workdir;
	spec.stdout_fd = spec.stderr_fd = r->log_fd;
	spec.keep = &r->keep_fd;
	spec.keep_count = r->keep_fd >= 0;
	spec.new_session = true;       /* the terminal's ^C reaches us, and we tell it in order */
	spec.dies_with_parent = false; /* the watcher's task */
	status = run_watched(r, &spec, &watcher, err);
	watcher_stop(&watcher);
	return status > 0 ? runner_explain(r, argv[0], status, start, err) : status;
}
