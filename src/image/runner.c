#include "image/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "image/watcher.h"

#define RUNNER_POLL_MS    200
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

/* The last two lines that matter so far. */
struct reason {
	const char *before, *last;
};

static bool reason_take(struct reason *reason, const char *line)
{
	if (is_wrap_up(line) || strcspn(line, "\r\n") == 0)
		return false;
	reason->before = reason->last;
	reason->last = line;
	return true;
}

static void reason_print(const struct reason *reason, const char *head, char *ret, size_t size)
{
	int head_length = (int)strcspn(head, "\r\n"), before = (int)strcspn(reason->before, "\r\n");

	snprintf(ret, size, "%.*s%s%.*s%s%.*s", head_length, head,
		head_length > 0 && reason->last[0] ? "; it ended with: " : "", before,
		reason->before, before > 0 ? "; " : "", (int)strcspn(reason->last, "\r\n"),
		reason->last);
}

void runner_reason(const char *log, char ret[RUNNER_REASON_MAX])
{
	struct reason reason = {"", ""};
	const char *error = NULL, *said;

	for (const char *line = log; *line; line = next_line(line)) {
		if (str_after(line, RUNNER_BEGIN))
			reason = (struct reason){"", ""};
		else if ((said = str_after(line, RUNNER_FAILED))) {
			reason_print(&reason, said, ret, RUNNER_REASON_MAX);
			return;
		} else if (reason_take(&reason, line) && !error)
			error = str_after(line, "E: ");
	}
	if (error)
		reason = (struct reason){"", error};
	reason_print(&reason, "", ret, RUNNER_REASON_MAX);
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
static int runner_wait(const struct runner *r, struct watcher *w)
{
	uint64_t waited_ms = 0;
	int status = -ETIMEDOUT;

	while (status == -ETIMEDOUT && waited_ms < r->timeout_ms && !(r->cancel && *r->cancel)) {
		status = watcher_wait(w, RUNNER_POLL_MS);
		waited_ms += RUNNER_POLL_MS;
	}
	return status;
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
	if (log && strstr(log, "\n" RUNNER_FAILED))
		return fail(err, -EIO, "%s (log: %s)", reason, r->log_path);
	return fail(err, -EIO, "%s failed with status %d: %s (log: %s)", program,
		WEXITSTATUS(status), reason[0] ? reason : "it does not say why", r->log_path);
}

/* Starts the program and waits for its end. Returns the wait status, or negative errno. */
static int run_watched(const struct runner *r, const struct child_spec *spec, struct error *err)
{
	struct watcher watcher;
	int status = watcher_start(spec, &watcher, err);

	if (status < 0)
		return status;
	status = runner_wait(r, &watcher);
	watcher_stop(&watcher);
	if (status != -ETIMEDOUT)
		return status < 0 ? fail_errno(err, status, "cannot wait for %s", spec->argv[0])
				  : status;
	if (r->cancel && *r->cancel)
		return fail(err, -ECANCELED, "cancelled");
	return fail(err, status, "%s was stopped after %llu minutes (log: %s)", spec->argv[0],
		(unsigned long long)r->timeout_ms / 60000, r->log_path);
}

int runner_run(const struct runner *r, const char *const *argv, struct error *err)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	off_t start = lseek(r->log_fd, 0, SEEK_END);
	int status;

	spec.argv = argv;
	spec.env = r->env ? strv_list(r->env) : NULL;
	spec.workdir = r->workdir;
	spec.stdout_fd = spec.stderr_fd = r->log_fd;
	spec.keep = &r->keep_fd;
	spec.keep_count = r->keep_fd >= 0;
	status = run_watched(r, &spec, err);
	return status > 0 ? runner_explain(r, argv[0], status, start, err) : status;
}
