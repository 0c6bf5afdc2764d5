/* Packets from a client into a VM's control socket, while the VM runs and does what it is asked.
 *
 * The input is a packet a line; a line that begins with '3' is sent with three descriptors, one
 * that begins with '1' with one. The VM is not QEMU: its agent ends in this file. */
#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "engine/attach.h"
#include "engine/control.h"
#include "engine/packet.h"
#include "lib/file.h"
#include "lib/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	sd_event *event;
	char *path;
	int null;
	struct control *control;
	struct caller caller;
	struct agent *agent;
	struct console *console;
	int guest, serial; /* the other ends */
	struct buffer in;
} world;

/* Instead of those in vm/vm.c. */
struct agent *vm_agent(const struct vm *vm)
{
	return world.agent;
}

struct console *vm_console(const struct vm *vm)
{
	return world.console;
}

static json_t *on_show(void *userdata)
{
	return json_object();
}

static struct vm *on_vm(void *userdata)
{
	static int vm;

	return (struct vm *)&vm; /* only ever given to the two functions above */
}

static void on_stop(void *userdata)
{
}

static void on_hello(const struct hello_guest *hello, void *userdata)
{
}

/* Nothing that a client asks for may make the guest end its link. */
static void on_lost(const char *reason, void *userdata)
{
	assert(world.guest < 0);
}

static void guest_send(const struct buffer *out)
{
	assert(send(world.guest, buffer_head(out), out->len, MSG_NOSIGNAL) == (ssize_t)out->len);
}

/* The guest obeys, and checks that it may: see stream_on_signal() in src/guest. */
static void guest_on_frame(const struct frame *f)
{
	const struct exit_status status = {.exited = 1};
	const struct reply done = {.error = 0};
	struct buffer out AUTO(buffer_done) = {0};
	struct signal_request request;

	if (f->type == FRAME_EXEC) {
		message_append_frame(&out, FRAME_REPLY, f->id, 0, reply_fields, &done);
	} else if (f->type == FRAME_SIGNAL) {
		assert(message_decode(signal_request_fields, f->payload, f->length, &request) == 0);
		assert(request.signo > 0 && request.signo <= 64);
	} else if (f->type == FRAME_DATA && f->length == 0) {
		message_append_frame(&out, FRAME_EXIT, f->id, 0, exit_status_fields, &status);
	}
	if (out.len > 0)
		guest_send(&out);
}

static void guest_turn(void)
{
	struct frame f;

	while (buffer_read(&world.in, world.guest, 65536) > 0)
		while (frame_parse(&world.in, FRAME_GUEST_ACCEPTS_MAX, &f) > 0) {
			guest_on_frame(&f);
			buffer_consume(&world.in, FRAME_HEADER_SIZE + f.length);
		}
}

static void turn(void)
{
	for (int i = 0; i < 1000 && sd_event_run(world.event, 0) > 0; i++)
		guest_turn();
}

static void vm_open(void)
{
	static const struct agent_callbacks callbacks = {on_hello, on_lost};
	const struct hello_guest hello = {.magic = MESSAGE_MAGIC,
		.version_min = MESSAGE_VERSION,
		.version_max = MESSAGE_VERSION};
	struct buffer out AUTO(buffer_done) = {0};
	int pair[2], serial[2], type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

	assert(socketpair(AF_UNIX, type, 0, pair) == 0 &&
		socketpair(AF_UNIX, type, 0, serial) == 0);
	world.guest = pair[1];
	world.serial = serial[1];
	assert(agent_open(world.event, pair[0], &callbacks, NULL, &world.agent) == 0);
	assert(console_open(world.event, serial[0], &world.console) == 0);
	message_append_frame(&out, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	guest_send(&out);
	turn();
}

static void vm_close(void)
{
	control_end_sessions(world.control);
	turn();
	world.guest = base_close(world.guest);
	world.serial = base_close(world.serial);
	world.agent = agent_free(world.agent);
	world.console = console_free(world.console);
	buffer_done(&world.in);
}

static void world_remove(void)
{
	*strrchr(world.path, '/') = '\0';
	file_remove_tree(AT_FDCWD, world.path);
}

static void world_open(void)
{
	const struct control_host host = {on_show, on_vm, &world.caller, on_stop};
	char directory[] = "/tmp/fuzz-control.XXXXXX";

	if (world.event)
		return;
	signal(SIGPIPE, SIG_IGN);
	assert(mkdtemp(directory) && sd_event_new(&world.event) >= 0);
	world.path = path_format("%s/control", directory);
	world.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert(world.path && world.null >= 0 && caller_load(&world.caller, NULL) == 0);
	assert(control_open(world.event, world.path, &host, NULL, &world.control, NULL) == 0);
	atexit(world_remove);
}

static void client_send(int fd, const void *bytes, size_t length, size_t fd_count)
{
	const int fds[] = {world.null, world.null, world.null};
	union {
		char bytes[CMSG_SPACE(sizeof(fds))];
		struct cmsghdr header;
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)bytes, length};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd_count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * fd_count);
	}
	sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	turn();
}

/* Takes all answers; each must be one packet. */
static void client_drain(int fd)
{
	int fds[PACKET_FDS_MAX];
	json_t *json = NULL;
	size_t n = 0;

	while (packet_recv(fd, &json, fds, &n) > 0) {
		json_decref(json);
		while (n > 0)
			close(fds[--n]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd;

	world_open();
	vm_open();
	fd = attach_open(world.path, NULL);
	assert(fd >= 0);
	assert(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	turn();
	for (size_t at = 0; at < size;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t n = end ? (size_t)(end - data) - at : size - at;
		size_t count = n > 0 && (data[at] == '3' || data[at] == '1') ? data[at] - '0' : 0;

		client_send(fd, data + at + (count > 0), n - (count > 0), count);
		client_drain(fd);
		at += n + 1;
	}
	close(fd);
	turn();
	vm_close();
	return 0;
}
