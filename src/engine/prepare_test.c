#include "engine/prepare.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "vm/fakeguest.h"

#include <cmocka.h>

#define MAC "52:54:00:01:02:03"

struct fixture {
	struct fakeguest guest;
	struct agent *agent;
	struct prepare *prepare;
	struct caller caller;
	struct request request;
	struct vm_identity identity;
	struct prepare_vm vm;
	int dones;
	bool failed;
	char error[ERROR_TEXT_MAX];
};

/* A message of the host's, decoded; released with release(). */
union decoded {
	struct clock_set clock;
	struct identity identity;
	struct network_request network;
	struct mount_request mount;
	struct account account;
};

static char share_home[] = "/home/me", share_data[] = "/data", share_in[] = "/in";

static void on_hello(const struct hello_guest *hello, void *userdata)
{
}

static void on_lost(const char *reason, void *userdata)
{
}

static void on_done(const char *error, void *userdata)
{
	struct fixture *x = userdata;

	x->dones++;
	x->failed = error != NULL;
	snprintf(x->error, sizeof(x->error), "%s", error ? error : "");
}

static int setup(void **state)
{
	static const struct agent_callbacks callbacks = {on_hello, on_lost};
	struct fixture *x = calloc(1, sizeof(*x));
	struct error err = {0};
	int fd = fakeguest_start(&x->guest);

	assert_int_equal(agent_open(x->guest.event, fd, &callbacks, x, &x->agent), 0);
	fakeguest_greet(&x->guest);
	assert_int_equal(caller_load(&x->caller, &err), 0);
	x->request = (struct request){
		.caller = &x->caller,
		.network = VM_NETWORK_USER,
		.scratch_bytes = 1 << 30,
		.shares = {.items = {{&gateway_9p, share_home, share_home, false},
				   {&gateway_9p, share_data, share_in, true}},
			.count = 2},
	};
	assert_int_equal(vm_identity_new("vm-12345678", &x->identity, &err), 0);
	x->vm = (struct prepare_vm){.hostname = "vm-12345678",
		.mac = MAC,
		.identity = &x->identity,
		.shares = &x->request.shares};
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	agent_free(x->agent);
	prepare_free(x->prepare);
	caller_done(&x->caller);
	vm_identity_done(&x->identity);
	fakeguest_stop(&x->guest);
	free(x);
	return 0;
}

static void start(struct fixture *x)
{
	assert_int_equal(prepare_start(x->agent, &x->request, &x->vm, on_done, x, &x->prepare), 0);
	fakeguest_turn(&x->guest);
}

/* Takes the next call, which must be of this type, and answers it later. Returns its id. */
static uint32_t expect(struct fixture *x, enum frame_type type, const struct message_field *fields,
	union decoded *ret)
{
	struct frame f = fakeguest_expect(&x->guest, type);

	assert_int_equal(message_decode(fields, f.payload, f.length, ret), 0);
	return f.id;
}

static void expect_mount(
	struct fixture *x, const char *type, const char *source, const char *target, uint32_t flags)
{
	union decoded m;

	expect(x, FRAME_MOUNT, mount_request_fields, &m);
	assert_string_equal(m.mount.type, type);
	assert_string_equal(m.mount.source, source);
	assert_string_equal(m.mount.target, target);
	assert_int_equal(m.mount.flags, flags);
}

static void skip_calls(struct fixture *x, size_t count)
{
	struct frame f;

	while (count-- > 0)
		assert_true(fakeguest_take(&x->guest, &f));
}

static void all_goes_out_at_once_in_an_order_that_works(void **state)
{
	struct fixture *x = *state;
	union decoded m;
	struct frame f;

	start(x);
	expect(x, FRAME_CLOCK, clock_set_fields, &m);
	assert_true(
		llabs((long long)(m.clock.realtime_ns / 1000000000) - (long long)time(NULL)) < 10);
	expect(x, FRAME_IDENTITY, identity_fields, &m);
	expect(x, FRAME_NETWORK, network_request_fields, &m);
	assert_string_equal(m.network.mac, MAC);
	assert_string_equal(m.network.address, "10.0.2.15");
	assert_string_equal(m.network.nameservers[0], "10.0.2.3");
	message_release(network_request_fields, &m);
	expect_mount(x, "ext4", "virtio-wnodes-scratch", "/scratch",
		MOUNT_NOSUID | MOUNT_NODEV | MOUNT_OWNED);
	expect_mount(x, "none", "/scratch", "/tmp", MOUNT_BIND);
	expect_mount(x, "9p", "share0", "/home/me", MOUNT_NOSUID | MOUNT_NODEV);
	expect_mount(x, "9p", "share1", "/in", MOUNT_NOSUID | MOUNT_NODEV | MOUNT_READ_ONLY);
	/* The account last: its home is made only if no share has brought it. */
	expect(x, FRAME_ACCOUNT, account_fields, &m);
	assert_int_equal(m.account.uid, getuid());
	assert_string_equal(m.account.name, x->caller.name);
	message_release(account_fields, &m);
	assert_false(fakeguest_take(&x->guest, &f));
}

static void identity_is_that_of_the_vm(void **state)
{
	struct fixture *x = *state;
	union decoded m;

	start(x);
	skip_calls(x, 1);
	expect(x, FRAME_IDENTITY, identity_fields, &m);
	assert_string_equal(m.identity.hostname, "vm-12345678");
	assert_non_null(strstr(m.identity.hosts, "127.0.0.1 localhost\n"));
	assert_non_null(strstr(m.identity.hosts, "10.0.2.15 vm-12345678\n"));
	assert_string_equal(m.identity.machine_id, x->identity.machine_id);
	assert_int_equal(m.identity.entropy.length, IDENTITY_ENTROPY_BYTES);
	assert_memory_equal(m.identity.entropy.data, x->identity.entropy, IDENTITY_ENTROPY_BYTES);
	assert_string_equal(m.identity.ssh_key, x->identity.ssh_key);
	assert_string_equal(m.identity.ssh_public_key, x->identity.ssh_public_key);
	/* Of a guest that has booted, these are its own. */
	assert_string_equal(m.identity.boot_id, "");
	expect(x, FRAME_NETWORK, network_request_fields, &m);
	assert_string_equal(m.network.card, "");
	message_release(network_request_fields, &m);
}

static void clone_also_gets_what_a_boot_would_have_given_it(void **state)
{
	struct fixture *x = *state;
	union decoded m;

	x->vm.is_clone = true;
	start(x);
	skip_calls(x, 1);
	expect(x, FRAME_IDENTITY, identity_fields, &m);
	assert_string_equal(m.identity.boot_id, x->identity.boot_id);
	expect(x, FRAME_NETWORK, network_request_fields, &m);
	assert_string_equal(m.network.card, VM_TEMPLATE_MAC);
	assert_string_equal(m.network.mac, MAC);
	message_release(network_request_fields, &m);
}

static void without_network_only_the_loopback_is_set_up(void **state)
{
	struct fixture *x = *state;
	union decoded m;

	x->request.network = VM_NETWORK_NONE;
	start(x);
	skip_calls(x, 1);
	expect(x, FRAME_IDENTITY, identity_fields, &m);
	assert_non_null(strstr(m.identity.hosts, "127.0.1.1 vm-12345678\n"));
	expect(x, FRAME_NETWORK, network_request_fields, &m);
	assert_string_equal(m.network.mac, "");
	assert_string_equal(m.network.address, "");
	message_release(network_request_fields, &m);
}

static void without_scratch_nothing_covers_tmp(void **state)
{
	struct fixture *x = *state;

	x->request.scratch_bytes = 0;
	start(x);
	skip_calls(x, 3);
	expect_mount(x, "9p", "share0", "/home/me", MOUNT_NOSUID | MOUNT_NODEV);
}

static void shared_tmp_is_not_covered_by_the_scratch_disk(void **state)
{
	struct fixture *x = *state;
	char tmp[] = "/tmp";

	x->request.shares.items[1].target = tmp;
	start(x);
	skip_calls(x, 4);
	expect_mount(x, "9p", "share0", "/home/me", MOUNT_NOSUID | MOUNT_NODEV);
	expect_mount(x, "9p", "share1", "/tmp", MOUNT_NOSUID | MOUNT_NODEV | MOUNT_READ_ONLY);
}

static void answer_all(struct fixture *x)
{
	for (uint32_t id = 1; id <= 8; id++)
		fakeguest_reply(&x->guest, id, 0, "");
	skip_calls(x, 8);
}

static void last_of_all_the_clock_is_set_exactly(void **state)
{
	struct fixture *x = *state;
	union decoded m;

	start(x);
	answer_all(x);
	assert_int_equal(x->dones, 0);
	expect(x, FRAME_CLOCK, clock_set_fields, &m);
	fakeguest_reply(&x->guest, 9, 0, "");
	assert_int_equal(x->dones, 1);
	assert_false(x->failed);
}

static void clock_that_was_set_slowly_is_set_again(void **state)
{
	struct fixture *x = *state;
	struct frame f;

	start(x);
	answer_all(x);
	for (uint32_t id = 9; id < 9 + 5; id++) {
		assert_int_equal(x->dones, 0);
		assert_true(fakeguest_take(&x->guest, &f));
		assert_int_equal(f.type, FRAME_CLOCK);
		usleep(6000);
		fakeguest_reply(&x->guest, id, 0, "");
	}
	/* A host that is too busy for it does not keep the command waiting. */
	assert_int_equal(x->dones, 1);
	assert_false(x->failed);
}

static void first_failure_is_told_with_its_step(void **state)
{
	struct fixture *x = *state;

	start(x);
	for (uint32_t id = 1; id <= 8; id++)
		fakeguest_reply(&x->guest, id, id == 6 ? ENODEV : id == 7 ? EIO : 0, "9p");
	assert_int_equal(x->dones, 1);
	assert_true(x->failed);
	assert_non_null(strstr(x->error, "mount '/home/me'"));
	assert_null(strstr(x->error, "/in"));
}

static void lost_link_is_not_told_twice(void **state)
{
	struct fixture *x = *state;

	start(x);
	fakeguest_reply(&x->guest, 1, 0, "");
	x->guest.fd = base_close(x->guest.fd);
	x->guest.gone = true;
	fakeguest_turn(&x->guest);
	assert_int_equal(x->dones, 0);
}

static void link_that_is_lost_already_is_an_error(void **state)
{
	struct fixture *x = *state;

	fakeguest_send_bytes(&x->guest, "not a frame, not at all", 23);
	assert_int_equal(
		prepare_start(x->agent, &x->request, &x->vm, on_done, x, &x->prepare), -ENOTCONN);
	assert_null(x->prepare);
	assert_int_equal(x->dones, 0);
}

/* A command line of the user's can make a call too long: the calls before it are out already. */
static void calls_before_one_that_cannot_be_sent_are_forgotten(void **state)
{
	struct fixture *x = *state;

	free(x->caller.home);
	x->caller.home = malloc(FRAME_GUEST_ACCEPTS_MAX + 1);
	memset(x->caller.home, '/', FRAME_GUEST_ACCEPTS_MAX);
	x->caller.home[FRAME_GUEST_ACCEPTS_MAX] = '\0';
	assert_int_equal(
		prepare_start(x->agent, &x->request, &x->vm, on_done, x, &x->prepare), -E2BIG);
	for (uint32_t id = 1; id <= 7; id++)
		fakeguest_reply(&x->guest, id, 0, "");
	assert_int_equal(x->dones, 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(all_goes_out_at_once_in_an_order_that_works),
		EACH(identity_is_that_of_the_vm),
		EACH(clone_also_gets_what_a_boot_would_have_given_it),
		EACH(without_network_only_the_loopback_is_set_up),
		EACH(without_scratch_nothing_covers_tmp),
		EACH(shared_tmp_is_not_covered_by_the_scratch_disk),
		EACH(last_of_all_the_clock_is_set_exactly),
		EACH(clock_that_was_set_slowly_is_set_again),
		EACH(first_failure_is_told_with_its_step),
		EACH(lost_link_is_not_told_twice),
		EACH(link_that_is_lost_already_is_an_error),
		EACH(calls_before_one_that_cannot_be_sent_are_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
