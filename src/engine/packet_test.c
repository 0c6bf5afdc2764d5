#include "engine/packet.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

struct fixture {
	int ours, theirs;
	json_t *json; /* what was received last */
	int fds[PACKET_FDS_MAX];
	size_t fd_count;
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	x->ours = pair[0];
	x->theirs = pair[1];
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	base_close(x->ours);
	base_close(x->theirs);
	free(x);
	return 0;
}

static size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int recv_packet(struct fixture *x)
{
	return packet_recv(x->ours, &x->json, x->fds, &x->fd_count);
}

/* Sends anything, with `count` descriptors. */
static void send_raw(struct fixture *x, const void *bytes, size_t length, size_t count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 64)];
		struct cmsghdr header;
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)bytes, length};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[64];

	assert_true(count <= ARRAY_SIZE(fds));
	for (size_t i = 0; i < count; i++)
		fds[i] = STDIN_FILENO;
	if (count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * count);
	}
	assert_int_equal(sendmsg(x->theirs, &message, MSG_NOSIGNAL), length);
}

static void send_text(struct fixture *x, const char *text)
{
	send_raw(x, text, strlen(text), 0);
}

static void packet_arrives_as_it_was_sent(void **state)
{
	struct fixture *x = *state;
	json_t *json = json_pack("{s:s, s:[i, i]}", "op", "exec\n\"", "list", 1, 2);

	assert_int_equal(packet_send(x->theirs, json, NULL, 0), 0);
	assert_int_equal(recv_packet(x), 1);
	assert_true(json_equal(json, x->json));
	assert_int_equal(x->fd_count, 0);
	json_decref(json);
	json_decref(x->json);
}

static void packets_keep_their_bounds(void **state)
{
	struct fixture *x = *state;

	send_text(x, "{\"a\":1}");
	send_text(x, "{\"a\":2}");
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(recv_packet(x), 1);
		assert_int_equal(json_integer_value(json_object_get(x->json, "a")), i);
		json_decref(x->json);
	}
}

static void descriptors_arrive_usable_and_close_on_exec(void **state)
{
	json_t *json = json_object();
	struct fixture *x = *state;
	char text[8] = "";
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(
		packet_send(x->theirs, json, (const int[]){ends[0], ends[1], ends[1]}, 3), 0);
	json_decref(json);
	assert_int_equal(recv_packet(x), 1);
	json_decref(x->json);
	assert_int_equal(x->fd_count, 3);
	assert_int_equal(write(x->fds[2], "through", 7), 7);
	assert_int_equal(read(x->fds[0], text, 7), 7);
	assert_string_equal(text, "through");
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(fcntl(x->fds[i], F_GETFD), FD_CLOEXEC);
		close(x->fds[i]);
	}
	close(ends[0]);
	close(ends[1]);
}

static void end_of_the_connection_is_zero(void **state)
{
	struct fixture *x = *state;

	x->theirs = base_close(x->theirs);
	assert_int_equal(recv_packet(x), 0);
}

static void what_is_no_packet_is_refused(void **state)
{
	static const char *const texts[] = {"x", "[]", "5", "null", "{", "{} {}",
		"{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}", "\"op\""};
	struct fixture *x = *state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		send_text(x, texts[i]);
		if (recv_packet(x) != -EPROTO)
			fail_msg("taken for a packet: %s", texts[i]);
	}
}

static void packet_too_long_is_neither_sent_nor_received(void **state)
{
	autofree char *text = calloc(1, PACKET_BYTES_MAX + 16);
	struct fixture *x = *state;
	json_t *json;

	memset(text, ' ', PACKET_BYTES_MAX + 8);
	json = json_pack("{s:s}", "text", text);
	assert_int_equal(packet_send(x->theirs, json, NULL, 0), -EMSGSIZE);
	json_decref(json);
	memcpy(text, "{}", 2);
	send_text(x, text);
	assert_int_equal(recv_packet(x), -EPROTO);
}

/* Whatever a client sends, its descriptors do not stay behind. */
static void descriptors_of_refused_packets_are_closed(void **state)
{
	size_t before = open_descriptors();
	struct fixture *x = *state;

	send_raw(x, "x", 1, 3);
	assert_int_equal(recv_packet(x), -EPROTO);
	assert_int_equal(open_descriptors(), before);
	for (size_t n = PACKET_FDS_MAX + 1; n <= PACKET_FDS_MAX + 4; n++) {
		send_raw(x, "{}", 2, n);
		assert_int_equal(recv_packet(x), -EPROTO);
		assert_int_equal(open_descriptors(), before);
	}
	send_raw(x, "", 0, 3);
	assert_int_equal(recv_packet(x), 0);
	assert_int_equal(open_descriptors(), before);
}

static void too_many_descriptors_are_not_sent(void **state)
{
	static const int fds[PACKET_FDS_MAX + 1];
	struct fixture *x = *state;
	json_t *json = json_object();

	assert_int_equal(packet_send(x->theirs, json, fds, ARRAY_SIZE(fds)), -EMSGSIZE);
	json_decref(json);
}

static void reader_that_is_gone_is_an_error_and_no_signal(void **state)
{
	struct fixture *x = *state;
	json_t *json = json_object();

	x->ours = base_close(x->ours);
	assert_int_equal(packet_send(x->theirs, json, NULL, 0), -EPIPE);
	json_decref(json);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(packet_arrives_as_it_was_sent),
		EACH(packets_keep_their_bounds),
		EACH(descriptors_arrive_usable_and_close_on_exec),
		EACH(end_of_the_connection_is_zero),
		EACH(what_is_no_packet_is_refused),
		EACH(packet_too_long_is_neither_sent_nor_received),
		EACH(descriptors_of_refused_packets_are_closed),
		EACH(too_many_descriptors_are_not_sent),
		EACH(reader_that_is_gone_is_an_error_and_no_signal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
