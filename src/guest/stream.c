/* Each stream moves on its own: one whose host grants no credit, or whose process does not read,
 * holds only its own buffers. Output is taken one frame from each in turn, so that a stream that
 * floods does not starve the others.
 */
#include "guest/stream.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "guest/power.h"

static struct stream *stream_free(struct stream *s)
{
	if (!s)
		return NULL;
	input_close(&s->input);
	for (int i = 0; i < STREAM_OUTPUTS; i++)
		base_close(s->outputs[i].fd);
	base_close(s->process.status_fd);
	free(s);
	return NULL;
}

void streams_done(struct streams *s)
{
	for (struct stream *t = s->first, *next; t; t = next) {
		next = t->next;
		stream_free(t);
	}
	*s = (struct streams){0};
}

struct stream *streams_find(struct streams *s, uint32_t id)
{
	for (struct stream *t = s->first; t; t = t->next)
		if (t->id == id)
			return t;
	return NULL;
}

int streams_check(struct streams *s, uint32_t id, struct error *err)
{
	if (id == 0 || streams_find(s, id))
		return fail(err, -EEXIST, "id %u is in use", id);
	if (s->count >= STREAMS_MAX)
		return fail(err, -EAGAIN, "limit: %d streams are open", STREAMS_MAX);
	return 0;
}

int streams_adopt(struct streams *s, uint32_t id, const struct process *process, bool streamed,
	struct error *err)
{
	struct stream *t = calloc(1, sizeof(*t));

	if (!t)
		return fail_errno(err, -ENOMEM, "stream");
	t->id = id;
	t->process = *process;
	t->status_slot = -1;
	input_init(&t->input, process->in, process->tty, streamed);
	output_init(&t->outputs[0], process->out, FRAME_STDOUT);
	output_init(&t->outputs[1], process->err, FRAME_STDERR);
	t->next = s->first;
	s->first = t;
	s->count++;
	return 0;
}

static void streams_remove(struct streams *s, struct stream *t)
{
	struct stream **p = &s->first;

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	s->count--;
	stream_free(t);
}

/* The next turn begins with another stream. */
static void streams_rotate(struct streams *s)
{
	struct stream *first = s->first, **p = &s->first;

	if (!first || !first->next)
		return;
	s->first = first->next;
	while (*p)
		p = &(*p)->next;
	*p = first;
	first->next = NULL;
}

static void stream_poll(struct stream *s, const struct link *link, struct pollset *set, int64_t now)
{
	struct output *o;

	s->status_slot = s->input.slot = -1;
	if (s->state == STREAM_STARTING)
		s->status_slot = pollset_add(set, s->process.status_fd, POLLIN);
	if (s->input.data.len > 0)
		s->input.slot = pollset_add(set, s->input.fd, POLLOUT);
	for (int i = 0; i < STREAM_OUTPUTS; i++) {
		o = &s->outputs[i];
		o->slot = -1;
		if (s->state != STREAM_STARTING && output_is_open(o, link))
			o->slot = pollset_add(set, o->fd, POLLIN);
		if (s->state == STREAM_EXITED && o->fd >= 0)
			pollset_wake(set, o->idle_ms + OUTPUT_IDLE_MS - now);
	}
}

void streams_poll(struct streams *s, const struct link *link, struct pollset *set, int64_t now)
{
	for (struct stream *t = s->first; t; t = t->next)
		stream_poll(t, link, set, now);
}

/* The child has written why it could not run the program, or has closed the pipe by running it. */
static int stream_start(struct stream *s, struct link *link, bool *ret_failed)
{
	struct error err = {0};
	ssize_t n = read(s->process.status_fd, &err, sizeof(err));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	s->process.status_fd = base_close(s->process.status_fd);
	s->state = s->process.pid > 0 ? STREAM_RUNNING : STREAM_EXITED;
	*ret_failed = n == sizeof(err);
	return link_send_reply(link, s->id, *ret_failed ? &err : NULL, NULL);
}

static int stream_end(struct stream *s, struct link *link)
{
	s->status.alone = !power_has_processes();
	return link_send(link, FRAME_EXIT, s->id, 0, exit_status_fields, &s->status);
}

static bool stream_is_over(const struct stream *s)
{
	return s->state == STREAM_EXITED && s->outputs[0].fd < 0 && s->outputs[1].fd < 0;
}

/* Everything but output. Removes the stream where it ends. */
static int stream_serve(
	struct streams *all, struct stream *s, struct link *link, const struct pollset *set)
{
	bool failed = false;
	int r = 0;

	if (s->state == STREAM_STARTING && pollset_has(set, s->status_slot))
		r = stream_start(s, link, &failed);
	if (failed) {
		streams_remove(all, s);
		return r;
	}
	if (r == 0)
		r = input_serve(&s->input, pollset_has(set, s->input.slot), link, s->id);
	for (int i = 0; i < STREAM_OUTPUTS; i++)
		if (pollset_has(set, s->outputs[i].slot))
			s->outputs[i].ready = true;
	return r;
}

/* One frame of each output that may have some. Returns the number of frames or negative errno. */
static int streams_serve_outputs(struct streams *s, struct link *link)
{
	int done = 0, r;

	for (struct stream *t = s->first; t; t = t->next)
		for (int i = 0; i < STREAM_OUTPUTS; i++) {
			struct output *o = &t->outputs[i];
			if (!o->ready || !output_is_open(o, link))
				continue;
			r = output_serve(o, link, t->id);
			if (r < 0)
				return r;
			done++;
		}
	return done;
}

/* What follows the end of a process. */
static int stream_tick(struct streams *all, struct stream *s, struct link *link, int64_t now)
{
	int64_t r;

	if (s->state != STREAM_EXITED)
		return 0;
	for (int i = 0; i < STREAM_OUTPUTS; i++) {
		r = output_tick(&s->outputs[i], link, s->id, now);
		if (r < 0)
			return (int)r;
	}
	if (!stream_is_over(s))
		return 0;
	r = stream_end(s, link);
	streams_remove(all, s);
	return (int)r;
}

int streams_serve(struct streams *s, struct link *link, const struct pollset *set, int64_t now)
{
	struct stream *next;
	int r = 0;

	for (struct stream *t = s->first; t && r == 0; t = next) {
		next = t->next;
		r = stream_serve(s, t, link, set);
	}
	while (r == 0 && (r = streams_serve_outputs(s, link)) > 0)
		r = 0;
	for (struct stream *t = s->first; t && r == 0; t = next) {
		next = t->next;
		r = stream_tick(s, t, link, now);
	}
	streams_rotate(s);
	return r;
}

static uint64_t stream_microseconds(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

bool streams_on_exit(
	struct streams *s, pid_t pid, int status, const struct rusage *usage, int64_t now)
{
	struct stream *t = s->first;

	while (t && t->process.pid != pid)
		t = t->next;
	if (!t)
		return false;
	t->status = (struct exit_status){
		.exited = WIFEXITED(status),
		.code = (uint32_t)(WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)),
		.user_us = stream_microseconds(&usage->ru_utime),
		.system_us = stream_microseconds(&usage->ru_stime),
		.max_rss_kib = (uint64_t)usage->ru_maxrss,
	};
	t->process.pid = 0;
	if (t->state == STREAM_RUNNING)
		t->state = STREAM_EXITED;
	t->input.end = true;
	input_close(&t->input);
	for (int i = 0; i < STREAM_OUTPUTS; i++)
		output_on_exit(&t->outputs[i], now);
	return true;
}

int stream_on_data(struct streams *s, const struct frame *f)
{
	struct stream *t = streams_find(s, f->id);

	if (f->channel != FRAME_STDIN)
		return -EPROTO;
	if (!t || t->process.pid == 0)
		return 0;
	return input_put(&t->input, f);
}

int stream_on_credit(struct streams *s, const struct frame *f)
{
	struct stream *t = streams_find(s, f->id);
	struct credit credit;
	struct output *o;
	int r;

	if (f->channel == FRAME_STDIN)
		return -EPROTO;
	r = message_decode(credit_fields, f->payload, f->length, &credit);
	if (r < 0 || !t)
		return r;
	o = &t->outputs[f->channel - FRAME_STDOUT];
	if (credit.bytes > UINT32_MAX - o->credit)
		return -EPROTO;
	o->credit += credit.bytes;
	return 0;
}

int stream_on_signal(struct streams *s, const struct frame *f)
{
	struct stream *t = streams_find(s, f->id);
	struct signal_request request;
	int r = message_decode(signal_request_fields, f->payload, f->length, &request);

	if (r < 0)
		return r;
	if (request.signo == 0 || request.signo > (uint32_t)SIGRTMAX)
		return -EPROTO;
	/* It may have ended just now: that is no error. */
	if (t)
		process_signal(&t->process, (int)request.signo, request.group != 0);
	return 0;
}

int stream_on_resize(struct streams *s, const struct frame *f)
{
	struct stream *t = streams_find(s, f->id);
	struct resize size;
	int r = message_decode(resize_fields, f->payload, f->length, &size);

	if (r == 0 && t)
		process_resize(&t->process, size.rows, size.columns);
	return r;
}

int streams_give_up(struct streams *s, struct link *link)
{
	int r = 0;

	for (struct stream *t = s->first; t && r == 0; t = t->next)
		for (int i = 0; i < STREAM_OUTPUTS && r == 0; i++)
			if (t->state == STREAM_EXITED)
				r = output_close(&t->outputs[i], link, t->id);
	return r;
}
