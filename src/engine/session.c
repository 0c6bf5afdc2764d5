#include "engine/session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "engine/endpoint.h"
#include "lib/buffer.h"
#include "lib/exit.h"

struct output {
	struct session *session;
	enum frame_channel channel;
	struct endpoint *endpoint; /* NULL: dropped */
	struct buffer waiting;     /* at most FRAME_WINDOW bytes: more was not granted */
};

struct session {
	sd_event_source *finish;
	struct stream *stream;
	struct endpoint *input;
	struct output outputs[FRAME_CHANNELS];
	bool started, stream_ended, has_status;
	struct exit_status status;
	int start_error, output_error;
	char reason[200];
	session_end_fn ended;
	void *userdata;
};

static bool session_has_output(const struct session *s)
{
	return s->outputs[FRAME_STDOUT].waiting.len > 0 || s->outputs[FRAME_STDERR].waiting.len > 0;
}

/* The end is told from the loop's next turn, when no caller of ours is on the stack. */
static void session_check_end(struct session *s)
{
	if (s->stream_ended && !session_has_output(s))
		sd_event_source_set_enabled(s->finish, SD_EVENT_ONESHOT);
}

static int session_on_finish(sd_event_source *source, void *userdata)
{
	struct session *s = userdata;
	struct session_end end = {
		.start_error = s->start_error,
		.reason = s->reason,
		.status = s->has_status ? &s->status : NULL,
		.output_error = s->output_error,
	};

	s->stream = stream_free(s->stream);
	s->ended(&end, s->userdata);
	return 0;
}

/* Nobody reads what the process writes: as the kernel would do for a process of ours, it is told
 * by SIGPIPE. Other errors (a full disk) are kept for the end. */
static void output_fail(struct output *o, int error)
{
	struct session *s = o->session;

	if (!s->output_error)
		s->output_error = -error;
	o->endpoint = endpoint_free(o->endpoint);
	buffer_done(&o->waiting);
	if (s->stream && !s->stream_ended)
		stream_signal(s->stream, error == -EPIPE ? SIGPIPE : SIGTERM, false);
}

/* Returns how many bytes went out now, all of them if they are to be dropped. */
static size_t output_write(struct output *o, const uint8_t *data, size_t length)
{
	size_t done = 0;

	while (o->endpoint && done < length) {
		ssize_t n = endpoint_write(o->endpoint, data + done, length - done);
		if (n == -EAGAIN)
			return done;
		if (n < 0)
			output_fail(o, (int)n);
		else
			done += (size_t)n;
	}
	return o->endpoint ? done : length;
}

static void output_on_ready(struct endpoint *e, void *userdata)
{
	struct output *o = userdata;
	struct session *s = o->session;
	size_t before = o->waiting.len;
	size_t n = output_write(o, buffer_head(&o->waiting), before);

	if (o->endpoint)
		buffer_consume(&o->waiting, n);
	if (s->stream && !s->stream_ended)
		stream_grant(s->stream, o->channel, n);
	if (o->endpoint && o->waiting.len == 0)
		endpoint_enable(o->endpoint, false);
	session_check_end(s);
}

static void session_on_data(
	enum frame_channel channel, const uint8_t *data, size_t length, void *userdata)
{
	struct session *s = userdata;
	struct output *o = &s->outputs[channel];
	size_t done = 0;

	if (o->waiting.len == 0)
		done = output_write(o, data, length);
	if (done > 0)
		stream_grant(s->stream, channel, done);
	if (done == length)
		return;
	if (buffer_append(&o->waiting, data + done, length - done) < 0)
		output_fail(o, -ENOMEM);
	else
		endpoint_enable(o->endpoint, true);
}

/* Moves what the caller has into the stream, as far as both sides go. */
static void session_pump_input(struct session *s)
{
	uint8_t data[FRAME_DATA_MAX];
	size_t room = s->input && s->stream ? stream_room(s->stream) : 0;
	ssize_t n = room > 0 ? endpoint_read(s->input, data, room) : 0;

	if (!s->input)
		return;
	if (room == 0) {
		endpoint_enable(s->input, false);
		return;
	}
	if (n == -EAGAIN) {
		endpoint_enable(s->input, true);
		return;
	}
	/* An error of reading ends the input, as it does for a program that reads it itself. */
	stream_send(s->stream, data, n > 0 ? (size_t)n : 0);
	if (n <= 0)
		s->input = endpoint_free(s->input);
	else
		endpoint_enable(s->input, stream_room(s->stream) > 0);
}

static void input_on_ready(struct endpoint *e, void *userdata)
{
	session_pump_input(userdata);
}

static void session_on_room(void *userdata)
{
	struct session *s = userdata;

	if (s->input)
		endpoint_enable(s->input, true);
}

static void session_on_started(int error, const char *reason, void *userdata)
{
	struct session *s = userdata;

	s->started = error == 0;
	s->start_error = error;
	if (error) {
		snprintf(s->reason, sizeof(s->reason), "%s", reason);
		s->stream_ended = true;
		session_check_end(s);
		return;
	}
	session_on_room(s);
}

static void session_on_exit(const struct exit_status *status, void *userdata)
{
	struct session *s = userdata;

	s->stream_ended = true;
	s->has_status = status != NULL;
	if (status)
		s->status = *status;
	s->input = endpoint_free(s->input);
	session_check_end(s);
}

static int session_open_output(
	sd_event *event, struct session *s, enum frame_channel channel, int fd)
{
	struct output *o = &s->outputs[channel];

	*o = (struct output){.session = s, .channel = channel};
	return fd < 0 ? 0 : endpoint_open(event, fd, true, output_on_ready, o, &o->endpoint);
}

static int session_open(
	sd_event *event, struct session *s, int stdin_fd, int stdout_fd, int stderr_fd)
{
	int r = session_open_output(event, s, FRAME_STDOUT, stdout_fd);
	int r2 = session_open_output(event, s, FRAME_STDERR, stderr_fd);
	int r3 = stdin_fd < 0 ? 0
			      : endpoint_open(event, stdin_fd, false, input_on_ready, s, &s->input);
	int r4 = sd_event_add_defer(event, &s->finish, session_on_finish, s);

	if (r4 >= 0)
		r4 = sd_event_source_set_enabled(s->finish, SD_EVENT_OFF);
	return r < 0 ? r : r2 < 0 ? r2 : r3 < 0 ? r3 : r4;
}

/* The guest's own /dev/null is the same to the process, and costs no stream. */
static bool is_null_device(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

int session_start(sd_event *event, struct agent *agent, const struct exec_request *request,
	int stdin_fd, int stdout_fd, int stderr_fd, session_end_fn ended, void *userdata,
	struct session **ret)
{
	static const struct stream_callbacks callbacks = {
		session_on_started, session_on_data, session_on_room, session_on_exit};
	struct session *s AUTO(session_freep) = calloc(1, sizeof(*s));
	struct exec_request exec = *request;
	int r;

	if (!s) {
		base_close(stdin_fd);
		base_close(stdout_fd);
		base_close(stderr_fd);
		return -ENOMEM;
	}
	s->ended = ended;
	s->userdata = userdata;
	if (!(exec.flags & EXEC_TTY) && is_null_device(stdin_fd))
		stdin_fd = base_close(stdin_fd);
	if (stdin_fd < 0)
		exec.flags &= ~(uint32_t)EXEC_STDIN;
	r = session_open(event, s, stdin_fd, stdout_fd, stderr_fd);
	if (r >= 0)
		r = stream_exec(agent, &exec, &callbacks, s, &s->stream);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct session *session_free(struct session *s)
{
	if (!s)
		return NULL;
	sd_event_source_disable_unref(s->finish);
	stream_free(s->stream);
	endpoint_free(s->input);
	for (size_t i = 0; i < FRAME_CHANNELS; i++) {
		endpoint_free(s->outputs[i].endpoint);
		buffer_done(&s->outputs[i].waiting);
	}
	free(s);
	return NULL;
}

struct stream *session_stream(const struct session *s)
{
	return s->stream_ended ? NULL : s->stream;
}

int session_exit_code(const struct session_end *end)
{
	if (end->start_error && !str_after(end->reason, "exec: "))
		return EXIT_WNODES;
	if (end->start_error)
		return end->start_error == ENOENT ? 127 : 126;
	if (!end->status)
		return -1;
	return end->status->exited ? (int)end->status->code : 128 + (int)end->status->code;
}
