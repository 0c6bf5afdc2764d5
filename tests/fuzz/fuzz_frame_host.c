/* Bytes from a guest into the host's agent, with calls and streams under way.
 *
 * The first byte chooses what was before: bit 0 a hello, bit 1 calls and processes that were asked
 * for, bit 2 that these run; the others in how large pieces the rest comes. Checked beside
 * crashes: each end is told once, nothing comes after it, and a guest never gets more through than
 * it was granted. */
#include <assert.h>
#include <sys/socket.h>

#include "lib/file.h"
#include "vm/stream.h"

#define STREAMS 2
#define CALLS   2

struct process {
	struct stream *stream;
	uint32_t id;
	bool started, ended;
	size_t allowed[FRAME_CHANNELS];
};

struct world {
	sd_event *event;
	struct agent *agent;
	int guest;
	struct process processes[STREAMS];
	int answers, losses, hellos;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Keeps the compiler from leaving out the reads. */
static volatile unsigned sum;

static void touch(const void *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		sum += ((const uint8_t *)data)[i];
}

static void on_hello(const struct hello_guest *hello, void *userdata)
{
	struct world *w = userdata;

	assert(++w->hellos == 1);
	touch(hello->kernel, strlen(hello->kernel));
	touch(hello->agent_version, strlen(hello->agent_version));
	touch(hello->init, strlen(hello->init));
}

static void on_lost(const char *reason, void *userdata)
{
	struct world *w = userdata;

	assert(++w->losses == 1);
	assert(w->answers == 0 || w->answers == CALLS);
	for (size_t i = 0; i < STREAMS; i++)
		assert(!w->processes[i].stream || w->processes[i].ended);
	touch(reason, strlen(reason));
}

static void on_answer(const struct reply *reply, void *userdata)
{
	struct world *w = userdata;

	assert(++w->answers <= CALLS);
	if (!reply)
		return;
	touch(reply->reason, strlen(reply->reason));
	touch(reply->body.data, reply->body.length);
}

static void on_started(int error, const char *reason, void *userdata)
{
	struct process *p = userdata;

	assert(!p->started && !p->ended);
	p->started = true;
	p->ended = error != 0;
	touch(reason, strlen(reason));
}

static void on_data(enum frame_channel channel, const uint8_t *data, size_t length, void *userdata)
{
	struct process *p = userdata;

	assert(p->started && !p->ended && length <= p->allowed[channel]);
	p->allowed[channel] -= length;
	touch(data, length);
	/* Some is granted again at once, some never. */
	if (length % 2 == 0) {
		stream_grant(p->stream, channel, length);
		p->allowed[channel] += length;
	}
}

static void on_room(void *userdata)
{
	static const uint8_t data[FRAME_DATA_MAX];
	struct process *p = userdata;

	stream_send(p->stream, data, stream_room(p->stream));
}

static void on_exit_told(const struct exit_status *status, void *userdata)
{
	struct process *p = userdata;

	assert(!p->ended);
	p->ended = true;
	assert(!status || status->code <= 255);
}

static void start_processes(struct world *w)
{
	static const struct stream_callbacks callbacks = {
		on_started, on_data, on_room, on_exit_told};
	static const char *argv[] = {"true", NULL};
	static const struct exec_request request = {.argv = argv};

	for (size_t i = 0; i < CALLS; i++)
		agent_call(w->agent, FRAME_PROBE, NULL, NULL, on_answer, w);
	for (size_t i = 0; i < STREAMS; i++) {
		struct process *p = &w->processes[i];

		p->id = (uint32_t)(CALLS + i + 1);
		p->allowed[FRAME_STDOUT] = p->allowed[FRAME_STDERR] = FRAME_WINDOW;
		assert(stream_exec(w->agent, &request, &callbacks, p, &p->stream) == 0);
	}
}

/* Lets both ends work; the guest throws away what it gets. */
static void turn(struct world *w)
{
	static uint8_t sink[65536];

	while (sd_event_run(w->event, 0) > 0)
		while (recv(w->guest, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			continue;
}

static void guest_sends(struct world *w, const uint8_t *data, size_t length)
{
	while (length > 0 && w->losses == 0) {
		ssize_t n = send(w->guest, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			break;
		data += n;
		length -= (size_t)n;
		turn(w);
	}
}

static void guest_begins(struct world *w, unsigned choice)
{
	const struct hello_guest hello = {.magic = MESSAGE_MAGIC,
		.version_min = MESSAGE_VERSION,
		.version_max = MESSAGE_VERSION};
	const struct reply done = {.error = 0};
	struct buffer bytes AUTO(buffer_done) = {0};

	if (choice & 1)
		message_append_frame(&bytes, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	for (size_t i = 0; i < STREAMS && (choice & 7) == 7; i++)
		message_append_frame(
			&bytes, FRAME_REPLY, w->processes[i].id, 0, reply_fields, &done);
	guest_sends(w, buffer_head(&bytes), bytes.len);
}

static void world_open(struct world *w, unsigned choice)
{
	static const struct agent_callbacks callbacks = {on_hello, on_lost};
	static sd_event *event;
	int pair[2];

	if (!event)
		assert(sd_event_new(&event) >= 0);
	w->event = event;
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	w->guest = pair[0];
	assert(agent_open(event, pair[1], &callbacks, w, &w->agent) == 0);
	if (choice & 2)
		start_processes(w);
	guest_begins(w, choice);
}

static void world_close(struct world *w)
{
	shutdown(w->guest, SHUT_WR);
	turn(w);
	for (size_t i = 0; i < STREAMS; i++)
		stream_free(w->processes[i].stream);
	agent_free(w->agent);
	close(w->guest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = {0};
	unsigned choice = size > 0 ? data[0] : 0;
	size_t step = choice >> 3 ? (size_t)(choice >> 3) * (choice >> 3) : 65536;

	world_open(&w, choice);
	for (size_t at = 1; at < size; at += step)
		guest_sends(&w, data + at, MIN_OF(step, size - at));
	world_close(&w);
	assert(w.losses == 1);
	return 0;
}
