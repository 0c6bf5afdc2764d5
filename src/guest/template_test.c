/* QUIESCE as a host sees it. The programs that it runs are scripts in the agent's root directory
 * that write down how they were called. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "guest/disk.h"
#include "guest/host_test.h"
#include "guest/now.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

#define SOON_MS 5000

static int setup(void **state)
{
	struct host *h = calloc(1, sizeof(*h));

	host_start(h);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct host *h = *state;
	int r = host_stop(h);

	free(h);
	return r == -EPIPE ? 0 : -1;
}

/* `then` is what the program does after it has written its line. */
static void put_program(const struct host *h, const char *name, const char *then)
{
	char path[128], script[512];
	int n;

	snprintf(path, sizeof(path), "%s%s", h->root, name);
	n = snprintf(script, sizeof(script), "#!/bin/sh\necho \"${0##*/} $*\" >>'%s/log'\n%s\n",
		h->root, then);
	assert_int_equal(disk_make_parents(path, 0755), 0);
	assert_int_equal(disk_replace(path, script, (size_t)n, 0755), 0);
}

static void put_programs(const struct host *h)
{
	put_program(h, "/usr/bin/systemctl", "exit 1");
	put_program(h, "/sbin/modprobe", "exit 1");
	put_program(h, "/bin/sh", "exit 0");
	put_program(h, "/bin/bash", "exit 0");
	put_program(h, "/usr/bin/env", "exit 0");
}

static const char *calls_of(const struct host *h)
{
	static char text[1024];
	char path[128];

	snprintf(path, sizeof(path), "%s/log", h->root);
	return disk_read(path, text, sizeof(text)) < 0 ? "" : text;
}

/* Waits until a program has been called, which is then under way. */
static void wait_for_call(const struct host *h, const char *call)
{
	int64_t deadline = now_ms() + SOON_MS;

	while (!strstr(calls_of(h), call)) {
		assert_true(now_ms() < deadline);
		usleep(5000);
	}
}

static struct quiesce quiesce_of(const char *const *drivers)
{
	return (struct quiesce){.drivers = (const char **)(uintptr_t)drivers};
}

static void quiesce(struct host *h, const char *const *drivers, struct reply *reply)
{
	struct quiesce x = quiesce_of(drivers);

	host_call(h, FRAME_QUIESCE, quiesce_fields, &x, reply);
}

static const char *const some_drivers[] = {"virtio_net", "9p", NULL};
static const char *const no_drivers[] = {NULL};

/* Only the agent knows; a host makes no template of one that does not say so. */
static void test_hello_says_that_templates_can_be_made(void **state)
{
	struct hello_guest hello;
	struct frame f;

	host_say_hello(*state);
	assert_true(host_recv(*state, &f, SOON_MS));
	assert_int_equal(message_decode(hello_guest_fields, f.payload, f.length, &hello), 0);
	assert_true(hello.features & AGENT_FEATURE_TEMPLATE);
	assert_true(hello.memory_kib > 0);
}

static void test_steps_come_in_their_order_whatever_becomes_of_them(void **state)
{
	struct host *h = *state;
	struct reply reply;

	put_programs(h);
	quiesce(h, some_drivers, &reply);
	assert_int_equal(reply.error, 0);
	assert_string_equal(calls_of(h), "modprobe -q -b -a virtio_net 9p\n"
					 "systemctl is-system-running --wait\n"
					 "sh -c :\n"
					 "bash -c :\n"
					 "env true\n");
}

static void test_guest_without_any_program_can_be_quiesced(void **state)
{
	struct reply reply;

	quiesce(*state, some_drivers, &reply);
	assert_int_equal(reply.error, 0);
}

static void test_no_driver_is_no_modprobe(void **state)
{
	struct host *h = *state;
	struct reply reply;

	put_programs(h);
	quiesce(h, no_drivers, &reply);
	assert_int_equal(reply.error, 0);
	assert_null(strstr(calls_of(h), "modprobe"));
}

static void test_names_that_are_options_are_refused(void **state)
{
	static const char *const bad[] = {"--remove", "-C/tmp/x", "", "a b", "../x", "x;y"};
	struct host *h = *state;
	struct reply reply;

	put_programs(h);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		quiesce(h, (const char *const[]){"9p", bad[i], NULL}, &reply);
		assert_int_equal(reply.error, EINVAL);
	}
	assert_string_equal(calls_of(h), "");
}

static void test_files_that_clones_need_are_made_ready(void **state)
{
	struct host *h = *state;
	char path[128], text[64];
	struct reply reply;

	snprintf(path, sizeof(path), "%s/etc/machine-id", h->root);
	assert_int_equal(disk_make_parents(path, 0755), 0);
	quiesce(h, no_drivers, &reply);
	assert_int_equal(reply.error, 0);
	assert_true(disk_read(path, text, sizeof(text)) > 0);
	assert_string_equal(text, "uninitialized\n");
}

static void test_vm_in_use_is_no_template(void **state)
{
	const char *const argv[4] = {"sleep", "1000", NULL};
	struct exec_request exec = host_shell(argv);
	struct host *h = *state;
	struct reply reply;
	struct frame f;

	host_exec(h, 1, &exec);
	assert_true(host_recv(h, &f, SOON_MS));
	assert_int_equal(f.type, FRAME_REPLY);
	quiesce(h, no_drivers, &reply);
	assert_int_equal(reply.error, EBUSY);
}

static void test_other_calls_are_served_meanwhile(void **state)
{
	struct quiesce x = quiesce_of(some_drivers);
	struct host *h = *state;
	struct reply reply;

	put_programs(h);
	put_program(h, "/usr/bin/systemctl", "exec sleep 1000");
	host_send(h, FRAME_QUIESCE, 1, 0, quiesce_fields, &x);
	wait_for_call(h, "systemctl");
	host_call(h, FRAME_STATISTICS, NULL, NULL, &reply);
	assert_int_equal(reply.error, 0);
	quiesce(h, no_drivers, &reply);
	assert_int_equal(reply.error, EBUSY);
}

static uint32_t expect_reply(struct host *h, uint32_t id)
{
	struct reply reply;
	struct frame f;

	assert_true(host_recv(h, &f, SOON_MS));
	assert_int_equal(f.type, FRAME_REPLY);
	assert_int_equal(f.id, id);
	assert_int_equal(message_decode(reply_fields, f.payload, f.length, &reply), 0);
	return reply.error;
}

static void test_shutdown_ends_it(void **state)
{
	struct shutdown request = {.how = SHUTDOWN_FLUSH, .grace_ms = 3000};
	struct quiesce x = quiesce_of(some_drivers);
	struct host *h = *state;
	struct reply reply;

	put_programs(h);
	put_program(h, "/usr/bin/systemctl", "exec sleep 1000");
	host_send(h, FRAME_QUIESCE, 1, 0, quiesce_fields, &x);
	wait_for_call(h, "systemctl");
	host_send(h, FRAME_SHUTDOWN, 2, 0, shutdown_fields, &request);
	assert_int_equal(expect_reply(h, 1), ESHUTDOWN);
	assert_int_equal(expect_reply(h, 2), 0);
	assert_null(strstr(calls_of(h), "sh -c"));
	/* The VM stays up, and may be quiesced after all. */
	put_program(h, "/usr/bin/systemctl", "exit 0");
	quiesce(h, no_drivers, &reply);
	assert_int_equal(reply.error, 0);
}

static void test_end_of_the_host_ends_the_agent_meanwhile(void **state)
{
	struct quiesce x = quiesce_of(no_drivers);
	struct host h;

	host_start(&h);
	put_program(&h, "/usr/bin/systemctl", "exec sleep 20");
	host_send(&h, FRAME_QUIESCE, 1, 0, quiesce_fields, &x);
	wait_for_call(&h, "systemctl");
	assert_int_equal(host_stop(&h), -EPIPE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hello_says_that_templates_can_be_made),
		TEST(test_steps_come_in_their_order_whatever_becomes_of_them),
		TEST(test_guest_without_any_program_can_be_quiesced),
		TEST(test_no_driver_is_no_modprobe),
		TEST(test_names_that_are_options_are_refused),
		TEST(test_files_that_clones_need_are_made_ready),
		TEST(test_vm_in_use_is_no_template),
		TEST(test_other_calls_are_served_meanwhile),
		TEST(test_shutdown_ends_it),
		cmocka_unit_test(test_end_of_the_host_ends_the_agent_meanwhile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
