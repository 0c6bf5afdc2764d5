/* QEMU and its server as this test plays them, over the relay. */
#include "vm/relay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "vm/vhost.h"

#define TRIES 100

#define GUEST_BYTES 4096
#define USED_AT     512 /* of the queue, in the guest's memory */
#define USER_BASE   0x7f0000000000ull

struct wire {
	sd_event *event;
	struct relay *relay;
	int qemu, server;
};

static int pair(int *ret_theirs)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	*ret_theirs = ends[1];
	return ends[0];
}

static void wire_open(struct wire *w)
{
	int theirs;

	assert_true(sd_event_new(&w->event) >= 0);
	w->server = pair(&theirs);
	assert_int_equal(relay_open(w->event, theirs, &w->relay, &w->qemu), 0);
}

static void wire_close(struct wire *w)
{
	relay_free(w->relay);
	sd_event_unref(w->event);
	base_close(w->qemu);
	base_close(w->server);
}

/* The loop's turns until there is nothing more to do. */
static void turn(struct wire *w)
{
	for (int i = 0; i < TRIES && sd_event_run(w->event, 0) > 0; i++)
		;
}

static struct vhost_message message(uint32_t request, const void *payload, size_t size)
{
	struct vhost_message m = {{request, VHOST_VERSION, (uint32_t)size}};

	memcpy(m.payload, payload, size);
	return m;
}

static void say(int fd, uint32_t request, const void *payload, size_t size, int descriptor)
{
	struct vhost_message m = message(request, payload, size);

	if (descriptor >= 0)
		m.fds[m.fd_count++] = descriptor;
	assert_int_equal(vhost_message_send(&m, fd), 0);
}

static void say_number(int fd, uint32_t request, uint64_t number)
{
	say(fd, request, &number, sizeof(number), -1);
}

/* Reads the next, which must be of this kind; its descriptors are closed. */
static struct vhost_message hear(int fd, uint32_t request)
{
	struct vhost_message m = {0}, copy;

	assert_int_equal(vhost_message_receive(&m, fd), 1);
	assert_int_equal(m.header.request, request);
	copy = m;
	vhost_message_done(&m);
	return copy;
}

static uint64_t number_in(struct vhost_message m)
{
	uint64_t number;

	assert_int_equal(m.header.size, sizeof(number));
	memcpy(&number, m.payload, sizeof(number));
	return number;
}

static uint32_t second_in(struct vhost_message m)
{
	uint32_t pair_of[2];

	memcpy(pair_of, m.payload, sizeof(pair_of));
	return pair_of[1];
}

static void questions_go_there_and_answers_back(void **state)
{
	struct wire w;

	wire_open(&w);
	say(w.qemu, VHOST_GET_PROTOCOL_FEATURES, "", 0, -1);
	turn(&w);
	hear(w.server, VHOST_GET_PROTOCOL_FEATURES);
	say_number(w.server, VHOST_GET_PROTOCOL_FEATURES, 0xffff);
	turn(&w);
	/* What the relay could not tell another server is not offered. */
	assert_int_equal(number_in(hear(w.qemu, VHOST_GET_PROTOCOL_FEATURES)), 1 << 0 | 1 << 3);
	wire_close(&w);
}

/* A device with one queue, of which three requests have been answered. */
static void start_device(struct wire *w, int memory, int kick, int call)
{
	const uint64_t table[] = {1, 0, GUEST_BYTES, USER_BASE, 0};
	const uint16_t used[] = {0, 3};
	const uint32_t size[] = {0, 128}, base[] = {0, 0}, enable[] = {0, 1};
	const struct {
		uint32_t queue, flags;
		uint64_t descriptors, used, available, log;
	} address = {.used = USER_BASE + USED_AT};
	const uint64_t queue = 0;

	assert_int_equal(ftruncate(memory, GUEST_BYTES), 0);
	assert_int_equal(pwrite(memory, used, sizeof(used), USED_AT), sizeof(used));
	say(w->qemu, VHOST_SET_OWNER, "", 0, -1);
	say_number(w->qemu, VHOST_SET_FEATURES, 1);
	say_number(w->qemu, VHOST_SET_FEATURES, 2);
	say(w->qemu, VHOST_SET_MEM_TABLE, table, sizeof(table), memory);
	say(w->qemu, VHOST_SET_VRING_NUM, size, sizeof(size), -1);
	say(w->qemu, VHOST_SET_VRING_BASE, base, sizeof(base), -1);
	say(w->qemu, VHOST_SET_VRING_ADDR, &address, sizeof(address), -1);
	say(w->qemu, VHOST_SET_VRING_KICK, &queue, sizeof(queue), kick);
	say(w->qemu, VHOST_SET_VRING_CALL, &queue, sizeof(queue), call);
	say(w->qemu, VHOST_SET_VRING_ENABLE, enable, sizeof(enable), -1);
	turn(w);
}

static void replace(struct wire *w)
{
	int theirs;

	w->server = base_close(w->server);
	turn(w);
	w->server = pair(&theirs);
	assert_int_equal(relay_replace(w->relay, theirs), 0);
}

static void another_server_is_told_what_the_first_was(void **state)
{
	int memory = memfd_create("guest", MFD_CLOEXEC), kick = eventfd(0, EFD_CLOEXEC);
	int call = eventfd(0, EFD_CLOEXEC);
	eventfd_t count;
	struct wire w;

	wire_open(&w);
	start_device(&w, memory, kick, call);
	replace(&w);
	hear(w.server, VHOST_SET_OWNER);
	assert_int_equal(number_in(hear(w.server, VHOST_SET_FEATURES)), 2);
	hear(w.server, VHOST_SET_MEM_TABLE);
	hear(w.server, VHOST_SET_VRING_NUM);
	/* It goes on with the fourth request. */
	assert_int_equal(second_in(hear(w.server, VHOST_SET_VRING_BASE)), 3);
	hear(w.server, VHOST_SET_VRING_ADDR);
	hear(w.server, VHOST_SET_VRING_KICK);
	hear(w.server, VHOST_SET_VRING_CALL);
	hear(w.server, VHOST_SET_VRING_ENABLE);
	/* Both sides are made to look. */
	assert_int_equal(eventfd_read(kick, &count), 0);
	assert_int_equal(eventfd_read(call, &count), 0);
	wire_close(&w);
	close(memory);
	close(kick);
	close(call);
}

static void a_question_to_a_server_that_dies_is_asked_the_next(void **state)
{
	struct wire w;

	wire_open(&w);
	say(w.qemu, VHOST_GET_FEATURES, "", 0, -1);
	turn(&w);
	replace(&w);
	hear(w.server, VHOST_GET_FEATURES);
	say_number(w.server, VHOST_GET_FEATURES, 5);
	turn(&w);
	assert_int_equal(number_in(hear(w.qemu, VHOST_GET_FEATURES)), 5);
	wire_close(&w);
}

static void a_queue_that_was_stopped_is_not_started_by_the_next(void **state)
{
	const uint32_t queue[] = {0, 0};
	int memory = memfd_create("guest", MFD_CLOEXEC), kick = eventfd(0, EFD_CLOEXEC);
	struct vhost_message m = {0};
	struct wire w;

	wire_open(&w);
	start_device(&w, memory, kick, kick);
	say(w.qemu, VHOST_GET_VRING_BASE, queue, sizeof(queue), -1);
	turn(&w);
	say(w.server, VHOST_GET_VRING_BASE, queue, sizeof(queue), -1);
	turn(&w);
	replace(&w);
	while (vhost_message_receive(&m, w.server) == 1) {
		assert_int_not_equal(m.header.request, VHOST_SET_VRING_KICK);
		assert_int_not_equal(m.header.request, VHOST_SET_VRING_ENABLE);
		vhost_message_done(&m);
	}
	wire_close(&w);
	close(memory);
	close(kick);
}

static void the_server_ends_with_qemu(void **state)
{
	char byte;
	struct wire w;

	wire_open(&w);
	w.qemu = base_close(w.qemu);
	turn(&w);
	assert_int_equal(recv(w.server, &byte, 1, MSG_DONTWAIT), 0);
	wire_close(&w);
}

static void what_is_no_message_ends_both(void **state)
{
	const struct vhost_header header = {VHOST_SET_FEATURES, VHOST_VERSION, 1 << 20};
	const uint64_t table[] = {2, 0, GUEST_BYTES, USER_BASE, 0};
	char byte;
	struct wire w;

	wire_open(&w);
	assert_int_equal(send(w.qemu, &header, sizeof(header), 0), sizeof(header));
	turn(&w);
	assert_int_equal(recv(w.server, &byte, 1, MSG_DONTWAIT), 0);
	wire_close(&w);
	/* More memory than descriptors. */
	wire_open(&w);
	say(w.qemu, VHOST_SET_MEM_TABLE, table, sizeof(table), STDIN_FILENO);
	turn(&w);
	assert_int_equal(recv(w.qemu, &byte, 1, MSG_DONTWAIT), 0);
	wire_close(&w);
	/* An answer that nobody asked for. */
	wire_open(&w);
	say_number(w.server, VHOST_GET_FEATURES, 1);
	turn(&w);
	assert_int_equal(recv(w.qemu, &byte, 1, MSG_DONTWAIT), 0);
	wire_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions_go_there_and_answers_back),
		cmocka_unit_test(another_server_is_told_what_the_first_was),
		cmocka_unit_test(a_question_to_a_server_that_dies_is_asked_the_next),
		cmocka_unit_test(a_queue_that_was_stopped_is_not_started_by_the_next),
		cmocka_unit_test(the_server_ends_with_qemu),
		cmocka_unit_test(what_is_no_message_ends_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
