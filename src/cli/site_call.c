#include "cli/site_call.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "engine/settings.h"
#include "lib/child.h"
#include "lib/deadline.h"
#include "lib/file.h"
#include "lib/path.h"
#include "lib/printable.h"

#define PROGRAM "wnodes-call"

/* How the program ends. */
#define STATUS_REFUSED     1
#define STATUS_UNREACHABLE 3

/* The longest silence: the program itself gives up earlier. */
#define SILENCE_MS 400000
#define END_MS     10000

#define READ_CHUNK    65536
#define ANSWER_MAX    (64 << 20) /* a line of a list, or an answer */
#define COMPLAINT_MAX 600

/* The program while it runs. */
struct call {
	pid_t pid;
	int pidfd, out_fd;
	int complaint_fd; /* a nameless file with what it writes to stderr */
	struct buffer out;
	int (*each)(json_t *row, void *userdata); /* NULL: one answer */
	void *userdata;
	json_t *answer; /* of one, or of a refusal */
	bool alone;     /* one controller is asked, not those of the settings */
};

static void call_done(struct call *c)
{
	/* It may still run if a list was not wanted to its end. */
	if (c->pidfd >= 0)
		child_kill(c->pidfd);
	base_close(c->pidfd);
	base_close(c->out_fd);
	base_close(c->complaint_fd);
	buffer_done(&c->out);
	json_decref(c->answer);
}

/* A body of any length, without a pipe that fills up: a nameless file. Returns a descriptor, -1
 * without a body, or another negative errno. */
static int open_body(const void *data, size_t length)
{
	autoclose int fd = -1;
	int r;

	if (!data)
		return -1;
	fd = memfd_create("body", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = file_write_all(fd, data, length);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? r : TAKE_FD(fd);
}

static int call_spawn(
	struct call *c, const char *const *argv, int body_fd, int out_fd, struct error *err)
{
	struct child_spec spec = CHILD_SPEC_INIT;

	spec.argv = argv;
	spec.stdin_fd = body_fd;
	spec.stdout_fd = out_fd;
	spec.stderr_fd = c->complaint_fd;
	return child_spawn(&spec, &c->pid, &c->pidfd, err);
}

static int call_start(
	struct call *c, const char *const *argv, const void *body, size_t length, struct error *err)
{
	autoclose int body_fd = open_body(body, length);
	int out[2] = {-1, -1}, r;

	if (body && body_fd < 0)
		return fail_errno(err, body_fd, "cannot ask the site");
	c->complaint_fd = memfd_create("complaint", MFD_CLOEXEC);
	r = c->complaint_fd < 0 ? -errno : child_pipe(out);
	c->out_fd = out[0];
	if (r < 0)
		fail_errno(err, r, "cannot ask the site");
	else
		r = call_spawn(c, argv, body_fd, out[1], err);
	base_close(out[1]);
	return r;
}

/* A refusal, which may come after some rows, is kept; rows go to their reader. */
static int call_take_line(struct call *c, const char *text, size_t length, struct error *err)
{
	json_t *row = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	int r;

	if (!row)
		return fail(err, -EPROTO,
			"the site's answer is not understood; is " PROGRAM " of another version?");
	if (json_is_string(json_object_get(row, "error")) &&
		json_is_integer(json_object_get(row, "status"))) {
		json_decref(c->answer);
		c->answer = row;
		return 0;
	}
	r = c->each(row, c->userdata);
	if (r < 0 && !err->text[0])
		return fail_errno(err, r, "cannot read the site's answer");
	return r;
}

static int call_take_lines(struct call *c, struct error *err)
{
	int r = 0;

	while (r >= 0 && c->out.len > 0) {
		const char *head = (const char *)buffer_head(&c->out);
		const char *end = memchr(head, '\n', c->out.len);

		if (!end)
			break;
		if (end > head)
			r = call_take_line(c, head, (size_t)(end - head), err);
		buffer_consume(&c->out, (size_t)(end - head) + 1);
	}
	return r < 0 ? r : 0;
}

/* Reads to the end of the program's output. */
static int call_read(struct call *c, struct error *err)
{
	for (;;) {
		struct pollfd fds = {.fd = c->out_fd, .events = POLLIN};
		ssize_t n = deadline_poll(&fds, 1, deadline_in_ms(SILENCE_MS));
		int r;

		if (n >= 0)
			n = buffer_read(&c->out, c->out_fd, READ_CHUNK);
		if (n == -ETIMEDOUT)
			return fail(
				err, -ETIMEDOUT, PROGRAM " does not end; its answer is not known");
		if (n < 0)
			return fail_errno(err, (int)n, "cannot read what " PROGRAM " writes");
		if (n == 0)
			return 0;
		r = c->each ? call_take_lines(c, err) : 0;
		if (r < 0)
			return r;
		if (c->out.len > ANSWER_MAX)
			return fail(err, -EFBIG, "the site's answer is too long");
	}
}

/* What the program has said on stderr, as one line. */
static const char *call_complaint(const struct call *c, char text[COMPLAINT_MAX])
{
	ssize_t n = pread(c->complaint_fd, text, COMPLAINT_MAX - 1, 0);
	char *begin = text;

	text[MAX_OF(n, 0)] = '\0';
	printable_make_line(text, strlen(text));
	for (size_t length = strlen(text); length > 0 && text[length - 1] == ' ';)
		text[--length] = '\0';
	if (str_after(begin, PROGRAM ": "))
		begin += strlen(PROGRAM ": ");
	return begin;
}

static int fail_unreachable(const char *complaint, bool alone, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	char tried[512] = "";
	size_t length = 0;

	if (!alone && settings_load(&settings, NULL) == 0)
		for (char **c = settings.site_controllers; *c && length < sizeof(tried); c++)
			length += (size_t)snprintf(tried + length, sizeof(tried) - length, "%s%s",
				length ? ", " : "", *c);
	complaint = *complaint ? complaint : "no controller answers";
	if (!*tried)
		return fail(err, -ENOTCONN, "%s", complaint);
	return fail(err, -ENOTCONN, "%s; tried were %s ([site] controllers in wnodes.conf)",
		complaint, tried);
}

static int fail_refused(const json_t *answer, const char *complaint, struct error *err)
{
	static const struct {
		int status, code;
	} codes[] = {
		{401, -EACCES}, {403, -EACCES}, {404, -ENOENT}, {409, -EEXIST}, {412, -ESTALE}};
	const char *text = json_string_value(json_object_get(answer, "error"));
	json_int_t status = json_integer_value(json_object_get(answer, "status"));
	int code = -EREMOTEIO;

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].status == status)
			code = codes[i].code;
	return fail(err, code, "%s", text ? text : *complaint ? complaint : "the site refused");
}

/* Waits for the program and says how it ended. */
static int call_end(struct call *c, struct error *err)
{
	char complaint[COMPLAINT_MAX];
	const char *said;
	int status = child_wait(c->pidfd, END_MS);

	if (status < 0)
		return fail_errno(err, status, "cannot wait for " PROGRAM);
	c->pidfd = base_close(c->pidfd);
	said = call_complaint(c, complaint);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_REFUSED)
		return fail_refused(c->answer, said, err);
	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_UNREACHABLE)
		return fail_unreachable(said, c->alone, err);
	return fail(err, -EIO, PROGRAM " failed%s%s", *said ? ": " : "", said);
}

/* The whole output as the one answer. */
static int call_parse(struct call *c, struct error *err)
{
	const char *text = (const char *)buffer_head(&c->out);

	if (c->out.len == 0)
		return 0;
	c->answer = json_loadb(text, c->out.len, JSON_REJECT_DUPLICATES, NULL);
	return c->answer ? 0 : fail(err, -EPROTO, "the site's answer is not understood");
}

static int call_run(
	struct call *c, const char *const *argv, const void *body, size_t length, struct error *err)
{
	int r = call_start(c, argv, body, length, err), unparsed = 0, ended;

	if (r >= 0)
		r = call_read(c, err);
	if (r < 0)
		return r;
	unparsed = c->each ? 0 : call_parse(c, err);
	ended = call_end(c, err);
	return ended < 0 ? ended : unparsed;
}

/* argv[0] is filled in. */
static int ask_with(const char **argv, const void *data, size_t length, bool alone, json_t **ret,
	struct error *err)
{
	struct call c AUTO(call_done) = {
		.pidfd = -1, .out_fd = -1, .complaint_fd = -1, .alone = alone};
	autofree char *program = path_own_program(PROGRAM);
	int r;

	if (!program)
		return fail(err, -ENOMEM, "out of memory");
	argv[0] = program;
	r = call_run(&c, argv, data, length, err);
	if (r == 0 && ret)
		*ret = TAKE_PTR(c.answer);
	return r;
}

static int ask(const char **argv, json_t *body, bool alone, json_t **ret, struct error *err)
{
	autofree char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	if (body && !text)
		return fail(err, -ENOMEM, "out of memory");
	return ask_with(argv, text, text ? strlen(text) : 0, alone, ret, err);
}

int site_call_send(const char *method, struct site_path *path, const void *data, size_t length,
	json_t **ret, struct error *err)
{
	const char *argv[] = {NULL, "--bytes", method, site_path_text(path), NULL};

	return argv[3] ? ask_with(argv, data, length, false, ret, err)
		       : fail(err, -ENOMEM, "out of memory");
}

int site_call_ask(const char *method, struct site_path *path, json_t *body, const char *if_match,
	json_t **ret, struct error *err)
{
	const char *argv[] = {
		NULL, method, site_path_text(path), if_match ? "--if-match" : NULL, if_match, NULL};

	return argv[2] ? ask(argv, body, false, ret, err) : fail(err, -ENOMEM, "out of memory");
}

int site_call_ask_at(const char *address, struct site_path *path, json_t **ret, struct error *err)
{
	const char *argv[] = {
		NULL, "GET", site_path_text(path), address ? "--controller" : NULL, address, NULL};

	return argv[2] ? ask(argv, NULL, address, ret, err) : fail(err, -ENOMEM, "out of memory");
}

int site_call_list(struct site_path *path, int (*each)(json_t *row, void *userdata), void *userdata,
	struct error *err)
{
	struct call c AUTO(call_done) = {
		.pidfd = -1, .out_fd = -1, .complaint_fd = -1, .each = each, .userdata = userdata};
	autofree char *program = path_own_program(PROGRAM);
	const char *argv[] = {program, "--list", "GET", site_path_text(path), NULL};
	int r;

	if (!program || !argv[3])
		return fail(err, -ENOMEM, "out of memory");
	r = call_run(&c, argv, NULL, 0, err);
	/* A last line without its end. */
	return r == 0 && c.out.len > 0
		       ? call_take_line(&c, (const char *)buffer_head(&c.out), c.out.len, err)
		       : r;
}
