#include "vm/stream.h"

#include <errno.h>
#include <signal.h>

#include "lib/wire.h"

enum stream_state { STREAM_STARTING, STREAM_RUNNING, STREAM_ENDED };

struct stream {
	struct agent *agent;
	uint32_t id;
	enum stream_state state;
	size_t stdin_credit;
	size_t granted[FRAME_CHANNELS]; /* what the guest may still send */
	size_t pending[FRAME_CHANNELS]; /* consumed but not yet granted: credit goes out in lumps */
	bool ended[FRAME_CHANNELS];
	struct stream_callbacks callbacks;
	void *userdata;
};

/* Credit is sent when this much has gathered, so that it costs few frames. */
#define STREAM_CREDIT_LUMP (FRAME_WINDOW / 4)

static void stream_end(struct stream *s)
{
	s->state = STREAM_ENDED;
	agent_remove_stream(s->agent, s);
}

static void on_exec_reply(const struct reply *reply, void *userdata)
{
	struct stream *s = userdata;

	if (!reply)
		return; /* stream_lose() follows */
	if (reply->error)
		stream_end(s);
	else
		s->state = STREAM_RUNNING;
	s->callbacks.on_started((int)reply->error, reply->reason, s->userdata);
}

int stream_exec(struct agent *a, const struct exec_request *request,
	const struct stream_callbacks *callbacks, void *userdata, struct stream **ret)
{
	struct stream *s;
	int64_t id;

	if (!agent_has_stream_slot(a))
		return -EBUSY;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct stream){
		.agent = a,
		.stdin_credit = FRAME_WINDOW,
		.granted = {[FRAME_STDOUT] = FRAME_WINDOW, [FRAME_STDERR] = FRAME_WINDOW},
		.callbacks = *callbacks,
		.userdata = userdata,
	};
	id = agent_call(a, FRAME_EXEC, exec_request_fields, request, on_exec_reply, s);
	if (id < 0) {
		free(s);
		return (int)id;
	}
	s->id = (uint32_t)id;
	agent_add_stream(a, s->id, s);
	*ret = s;
	return 0;
}

struct stream *stream_free(struct stream *s)
{
	if (!s)
		return NULL;
	if (s->state == STREAM_STARTING)
		agent_cancel_call(s->agent, s->id);
	if (s->state != STREAM_ENDED) {
		stream_signal(s, SIGKILL, true);
		stream_end(s);
	}
	free(s);
	return NULL;
}

size_t stream_room(const struct stream *s)
{
	size_t room = agent_room(s->agent);

	if (s->state != STREAM_RUNNING || s->ended[FRAME_STDIN])
		return 0;
	return MIN_OF(MIN_OF(room, s->stdin_credit), (size_t)FRAME_DATA_MAX);
}

int stream_send(struct stream *s, const void *data, size_t length)
{
	if (length > stream_room(s))
		return -EAGAIN;
	if (length == 0)
		s->ended[FRAME_STDIN] = true;
	s->stdin_credit -= length;
	return agent_send(s->agent, FRAME_DATA, s->id, FRAME_STDIN, data, length);
}

int stream_grant(struct stream *s, enum frame_channel channel, size_t length)
{
	uint8_t bytes[4];

	s->pending[channel] += length;
	if (s->state != STREAM_RUNNING || s->ended[channel])
		return 0;
	if (s->pending[channel] < STREAM_CREDIT_LUMP)
		return 0;
	le32_store(bytes, (uint32_t)s->pending[channel]);
	s->granted[channel] += s->pending[channel];
	s->pending[channel] = 0;
	return agent_send(s->agent, FRAME_CREDIT, s->id, channel, bytes, sizeof(bytes));
}

static int stream_tell(struct stream *s, enum frame_type type, uint32_t first, uint32_t second)
{
	uint8_t payload[8]; /* SIGNAL and RESIZE are both two numbers */

	if (s->state == STREAM_ENDED)
		return -ESRCH;
	le32_store(payload, first);
	le32_store(payload + 4, second);
	return agent_send(s->agent, type, s->id, 0, payload, sizeof(payload));
}

int stream_signal(struct stream *s, int signo, bool group)
{
	return stream_tell(s, FRAME_SIGNAL, (uint32_t)signo, group);
}

int stream_resize(struct stream *s, unsigned int rows, unsigned int columns)
{
	return stream_tell(s, FRAME_RESIZE, rows, columns);
}

static const char *on_data(struct stream *s, const struct frame *f)
{
	enum frame_channel channel = f->channel;

	if (channel == FRAME_STDIN)
		return "output on a process's stdin";
	if (s->ended[channel])
		return "output after its end";
	if (f->length > s->granted[channel] || f->length > FRAME_DATA_MAX)
		return "more output than it may";
	s->granted[channel] -= f->length;
	s->ended[channel] = f->length == 0;
	s->callbacks.on_data(channel, f->payload, f->length, s->userdata);
	return NULL;
}

static const char *on_credit(struct stream *s, const struct frame *f)
{
	struct credit credit;

	if (message_decode(credit_fields, f->payload, f->length, &credit) < 0 ||
		f->channel != FRAME_STDIN || credit.bytes > FRAME_WINDOW - s->stdin_credit)
		return "more credit than was used";
	s->stdin_credit += credit.bytes;
	stream_on_room(s);
	return NULL;
}

static const char *on_exit_frame(struct stream *s, const struct frame *f)
{
	struct exit_status status;

	if (message_decode(exit_status_fields, f->payload, f->length, &status) < 0 ||
		status.code > 255)
		return "an exit status that is none";
	stream_end(s);
	s->callbacks.on_exit(&status, s->userdata);
	return NULL;
}

const char *stream_on_frame(struct stream *s, const struct frame *f)
{
	if (s->state != STREAM_RUNNING)
		return "output of a process that it has not started";
	if (f->type == FRAME_DATA)
		return on_data(s, f);
	if (f->type == FRAME_CREDIT)
		return on_credit(s, f);
	return on_exit_frame(s, f);
}

void stream_on_room(struct stream *s)
{
	if (stream_room(s) > 0)
		s->callbacks.on_room(s->userdata);
}

void stream_lose(struct stream *s)
{
	s->state = STREAM_ENDED;
	s->callbacks.on_exit(NULL, s->userdata);
}
