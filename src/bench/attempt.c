#include "bench/attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "bench/cputime.h"
#include "lib/buffer.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/deadline.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/printable.h"

#define SCRIPT_BYTES_MAX  65536
#define OUTPUT_BYTES_MAX  (16 << 20) /* of a guest that says too much, the rest is not read */
#define MESSAGE_BYTES_MAX 65536
#define READ_BYTES        65536

struct run {
	const struct attempt *attempt;
	struct reading *reading;
	pid_t pid;
	struct buffer output;
	size_t taken;
	double cpu_before;
	char mark[64]; /* what the processor time is being taken of; empty: nothing */
};

/* The text of a script beside the program: prelude, and the trial's own. */
static char *script_load(const char *name, struct error *err)
{
	autofree char *path = path_format("%s/../bench/%s.sh", path_libexec(), name);
	autofree char *installed = path_format("%s/bench/%s.sh", path_libexec(), name);
	char *text = NULL;
	size_t length;
	int r = path && installed ? file_read(AT_FDCWD, path, SCRIPT_BYTES_MAX, &text, &length)
				  : -ENOMEM;

	if (r == -ENOENT)
		r = file_read(AT_FDCWD, installed, SCRIPT_BYTES_MAX, &text, &length);
	if (r < 0)
		fail_errno(err, r, "cannot read '%s', which is a part of WNoDeS", installed);
	return r < 0 ? NULL : text;
}

static char *attempt_script(const struct attempt *a, struct error *err)
{
	autofree char *prelude = script_load("prelude", err);
	autofree char *own = prelude ? script_load(a->trial->name, err) : NULL;

	if (!own)
		return NULL;
	return path_format("QUICK=%d CPUS=%llu MEMORY_MIB=%llu WORK='%s' SERVER='%s' IPERF_PORT=%u "
			   "SOCKPERF_PORT=%u\n%s\n%s",
		a->quick, (unsigned long long)a->vm->cpus, (unsigned long long)a->vm->memory_mib,
		place_work(a->place, a->vm), a->place->address ? a->place->address : "",
		a->iperf_port, a->sockperf_port, prelude, own);
}

static void run_end_mark(struct run *run, const char *key)
{
	char figure[sizeof(run->mark) + 16];

	if (run->mark[0] && streq(run->mark, key) && place_is_vm(run->attempt->place)) {
		snprintf(figure, sizeof(figure), "%s_host_cpu", key);
		reading_set(run->reading, run->attempt->trial, figure,
			cputime_of_tree(run->pid) - run->cpu_before);
	}
	run->mark[0] = '\0';
}

static void run_take_line(struct run *run, char *line)
{
	const char *key = NULL;
	enum reading_mark mark = reading_take(run->reading, run->attempt->trial, line, &key);

	if (run->attempt->verbose)
		log_info("%s, %s: %s", run->attempt->trial->name, run->attempt->place->name, line);
	if (mark == READING_BEGIN) {
		snprintf(run->mark, sizeof(run->mark), "%s", key);
		run->cpu_before = cputime_of_tree(run->pid);
	} else if (mark == READING_END) {
		run_end_mark(run, key);
	}
}

/* All lines that are whole. */
static void run_take_lines(struct run *run)
{
	const uint8_t *end;

	while ((end = memchr(buffer_head(&run->output), '\n', run->output.len))) {
		size_t length = (size_t)(end - buffer_head(&run->output));
		char line[READING_LINE_MAX];

		snprintf(line, sizeof(line), "%.*s", (int)MIN_OF(length, sizeof(line) - 1),
			(const char *)buffer_head(&run->output));
		buffer_consume(&run->output, length + 1);
		run_take_line(run, line);
	}
	if (run->output.len > READING_LINE_MAX) /* nobody's line is so long */
		buffer_consume(&run->output, run->output.len);
}

/* Reads until the other end is closed, or too much has come. Returns 0 or negative errno. */
static int run_read(struct run *run, int fd, uint64_t deadline)
{
	struct pollfd poll = {.fd = fd, .events = POLLIN};

	while (run->taken < OUTPUT_BYTES_MAX) {
		int r = deadline_poll(&poll, 1, deadline);
		ssize_t n = r < 0 ? r : buffer_read(&run->output, fd, READ_BYTES);

		if (n <= 0)
			return (int)n;
		run->taken += (size_t)n;
		run_take_lines(run);
	}
	return -EFBIG;
}

/* The last line of what the child has said to people, which says why it failed. */
static void take_message(struct reading *r, int messages)
{
	autofree char *text = NULL;
	char path[64], *line;
	size_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", messages);
	if (file_read(AT_FDCWD, path, MESSAGE_BYTES_MAX, &text, &length) < 0)
		return;
	printable_make(text, length);
	while (length > 0 && text[length - 1] == '\n')
		text[--length] = '\0';
	line = strrchr(text, '\n');
	snprintf(r->why, sizeof(r->why), "%s", line ? line + 1 : text);
}

static void run_explain(struct run *run, int error, int status, int messages)
{
	struct reading *r = run->reading;

	if (error == -ETIMEDOUT)
		snprintf(r->why, sizeof(r->why), "it took more than %d s",
			run->attempt->timeout_ms / 1000);
	else if (error == -EFBIG)
		snprintf(r->why, sizeof(r->why), "it printed more than %d MiB",
			OUTPUT_BYTES_MAX >> 20);
	else if (error < 0)
		snprintf(r->why, sizeof(r->why), "%s", strerror(-error));
	else if (status != 0)
		take_message(r, messages);
	if (!r->why[0] && status != 0)
		snprintf(r->why, sizeof(r->why), "it ended with status %d",
			WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Starts the child and follows it to its end. */
static int run_child(struct run *run, const struct strv *argv, int messages, struct error *err)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	int ends[2], pidfd, r = child_pipe(ends);
	uint64_t began = clock_now_us();
	int status;

	if (r < 0)
		return fail_errno(err, r, "cannot make a pipe");
	spec.argv = strv_list(argv);
	spec.stdout_fd = ends[1];
	spec.stderr_fd = messages;
	r = child_spawn(&spec, &run->pid, &pidfd, err);
	base_close(ends[1]);
	if (r == 0) {
		r = run_read(run, ends[0], deadline_in_ms(run->attempt->timeout_ms));
		status = r < 0 ? child_kill(pidfd) : child_wait(pidfd, run->attempt->timeout_ms);
		if (run->attempt->trial->wall && r == 0 && status == 0)
			reading_set(run->reading, run->attempt->trial, "wall",
				(double)(clock_now_us() - began) / 1e6);
		run_explain(run, r, status, messages);
		base_close(pidfd);
		r = 0;
	}
	base_close(ends[0]);
	return r;
}

int attempt_run(const struct attempt *a, struct reading *ret, struct error *err)
{
	struct run run = {.attempt = a, .reading = ret};
	autofree char *script = attempt_script(a, err);
	struct strv argv AUTO(strv_done) = {0};
	int messages autoclose = file_open_temporary("/tmp");
	int r;

	*ret = (struct reading){0};
	if (!script)
		return err->code ? err->code : fail(err, -ENOMEM, "out of memory");
	if (messages < 0)
		return fail_errno(err, messages, "cannot make a temporary file in /tmp");
	place_fill_command(a->place, a->vm, a->report, script, &argv);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	r = run_child(&run, &argv, messages, err);
	buffer_done(&run.output);
	return r;
}
