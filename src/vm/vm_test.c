/* Most tests have a QEMU of their own, which is this program again: it misbehaves in ways in which
 * the real one seldom does. */
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/deadline.h"
#include "lib/file.h"
#include "vm/overlay.h"

#include <cmocka.h>

#define PATIENCE_US (20 * 1000 * 1000)
#define GREETING \
	"{\"QMP\": {\"version\": {\"qemu\": {\"major\": %d, \"minor\": %d, \"micro\": 0}}}}\n"

struct fixture {
	sd_event *event;
	struct vm *vm;
	int hellos, ends;
	char reason[512];
	bool asked, host_full;
	int wait_status;
	uint64_t max_rss_kib;
};

/* ---- the QEMU that is this program ---- */

static int fake_argc;
static char **fake_argv;

static int fake_channel(const char *id)
{
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "socket,id=%s,fd=", id);
	for (int i = 1; i < fake_argc; i++) {
		const char *fd = str_after(fake_argv[i], wanted);
		if (fd)
			return atoi(fd);
	}
	return -1;
}

static void fake_say(const char *id, const char *text)
{
	if (write(fake_channel(id), text, strlen(text)) < 0)
		_exit(99);
}

/* Waits for a command on QMP and answers it. */
static void fake_answer(int id)
{
	char text[256];

	if (read(fake_channel("qmp"), text, sizeof(text)) <= 0)
		_exit(98);
	snprintf(text, sizeof(text), "{\"return\": {}, \"id\": %d}\n", id);
	fake_say("qmp", text);
}

static void fake_greet(int major, int minor)
{
	char text[256];

	snprintf(text, sizeof(text), GREETING, major, minor);
	fake_say("qmp", text);
	fake_answer(1);
}

static void fake_complaining(void)
{
	fputs("qemu: no such machine\n", stderr);
	_exit(1);
}

static void fake_silent(void)
{
	_exit(3);
}

static void fake_killed(void)
{
	raise(SIGKILL);
}

static void fake_old(void)
{
	fake_greet(7, 1);
	sleep(60);
}

static void fake_nonsense(void)
{
	fake_say("qmp", "nonsense\n");
	sleep(60);
}

static void fake_full(void)
{
	fake_greet(7, 2);
	fake_say("qmp", "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"nospace\": true}}\n");
	sleep(60);
}

static void fake_rebooted(void)
{
	fake_greet(9, 0);
	fake_say("qmp", "{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-reset\"}}\n");
	_exit(0);
}

static void fake_hostile(void)
{
	fake_greet(7, 2);
	fake_say("agent", "this is no frame at all");
	sleep(60);
}

static void fake_obeying(void)
{
	fake_greet(7, 2);
	fake_answer(2);
	_exit(0);
}

static void fake_disobeying(void)
{
	fake_greet(7, 2);
	sleep(60);
}

/* Says what its disks have moved when it is asked. */
static void fake_counters(void)
{
	char text[256];

	fake_greet(7, 2);
	if (read(fake_channel("qmp"), text, sizeof(text)) <= 0)
		_exit(98);
	fake_say("qmp",
		"{\"return\": [{\"stats\": {\"rd_bytes\": 5, \"wr_bytes\": 7}}], \"id\": 2}\n");
	sleep(60);
}

/* Ends when it is asked. */
static void fake_vanishing(void)
{
	char text[256];

	fake_greet(7, 2);
	if (read(fake_channel("qmp"), text, sizeof(text)) > 0)
		_exit(0);
}

static void fake_talking(void)
{
	fake_greet(7, 2);
	fake_say("console", "Kernel panic - not syncing\n");
	_exit(0);
}

/* Exits well only if nothing but what it was given came along. */
static void fake_counting(void)
{
	int kept = 0;

	for (int fd = 3; fd < 1024; fd++)
		kept += fcntl(fd, F_GETFD) >= 0;
	_exit(kept == 5 ? 55 : kept);
}

/* As QEMU does when it ends by itself. */
static void fake_leaving(void)
{
	close(fake_channel("agent"));
	usleep(300000);
	fputs("qemu: cannot go on\n", stderr);
	_exit(1);
}

static void fake_staying(void)
{
	close(fake_channel("agent"));
	sleep(60);
}

static const struct {
	const char *name;
	void (*run)(void);
} fakes[] = {
	{"complaining", fake_complaining},
	{"silent", fake_silent},
	{"killed", fake_killed},
	{"old", fake_old},
	{"nonsense", fake_nonsense},
	{"full", fake_full},
	{"rebooted", fake_rebooted},
	{"hostile", fake_hostile},
	{"obeying", fake_obeying},
	{"leaving", fake_leaving},
	{"staying", fake_staying},
	{"disobeying", fake_disobeying},
	{"counters", fake_counters},
	{"vanishing", fake_vanishing},
	{"talking", fake_talking},
	{"counting", fake_counting},
};

static int fake_main(int argc, char **argv)
{
	const char *name = getenv("FAKE_QEMU");

	fake_argc = argc;
	fake_argv = argv;
	for (size_t i = 0; name && i < ARRAY_SIZE(fakes); i++)
		if (streq(fakes[i].name, name))
			fakes[i].run();
	return 97;
}

/* ---- the tests ---- */

static void on_agent(const struct hello_guest *hello, void *userdata)
{
	struct fixture *x = userdata;

	x->hellos++;
}

static void on_end(const struct vm_end *end, void *userdata)
{
	struct fixture *x = userdata;

	x->ends++;
	snprintf(x->reason, sizeof(x->reason), "%s", end->reason);
	x->asked = end->asked;
	x->host_full = end->host_full;
	x->wait_status = end->wait_status;
	x->max_rss_kib = end->max_rss_kib;
}

static const struct vm_callbacks callbacks = {on_agent, on_end};

static struct vm_spec plain_spec(int disk_fd, int overlay_fd)
{
	return (struct vm_spec){
		.name = "vm-00000000",
		.qemu = "/proc/self/exe",
		.accel = ACCEL_TCG,
		.cpus = 1,
		.memory_mib = 64,
		.memory_fd = -1,
		.state_fd = -1,
		.template_overlay_fd = -1,
		.kernel_fd = -1,
		.initrd_fd = -1,
		.disk_fd = disk_fd,
		.disk_format = "raw",
		.overlay_fd = overlay_fd,
		.scratch_fd = -1,
		.seed_fd = -1,
		.network = VM_NETWORK_NONE,
	};
}

static void start_fake(struct fixture *x, const char *name)
{
	autoclose int disk = open("/dev/null", O_RDONLY | O_CLOEXEC);
	autoclose int overlay = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct vm_spec spec = plain_spec(disk, overlay);
	struct error err = {0};

	setenv("FAKE_QEMU", name, 1);
	if (vm_start(x->event, &spec, &callbacks, x, &x->vm, &err) < 0)
		fail_msg("%s", err.text);
}

static void run_for(struct fixture *x, int ms)
{
	uint64_t deadline = deadline_in_ms(ms);

	while (x->ends == 0 && deadline_left_ms(deadline) > 0)
		assert_true(sd_event_run(x->event, 10000) >= 0);
}

static void run_until_end(struct fixture *x)
{
	run_for(x, PATIENCE_US / 1000);
	assert_int_equal(x->ends, 1);
	/* Reaped: no child is left. */
	assert_int_equal(waitpid(vm_pid(x->vm), NULL, WNOHANG), -1);
}

static void assert_reason(const struct fixture *x, const char *text)
{
	if (!strstr(x->reason, text))
		fail_msg("'%s' does not say '%s'", x->reason, text);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	*state = x;
	return sd_event_new(&x->event) < 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	vm_free(x->vm);
	sd_event_unref(x->event);
	free(x);
	return 0;
}

static void complaint_of_qemu_is_the_reason(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "complaining");
	run_until_end(x);
	assert_string_equal(x->reason, "QEMU failed: qemu: no such machine");
	assert_false(x->asked);
	assert_int_equal(WEXITSTATUS(x->wait_status), 1);
	assert_true(x->max_rss_kib > 0);
}

static void status_is_the_reason_when_nothing_else_is(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "silent");
	run_until_end(x);
	assert_reason(x, "status 3");
}

static void killed_qemu_is_told_as_such(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "killed");
	run_until_end(x);
	assert_reason(x, "killed by signal 9");
}

static void old_qemu_is_refused(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "old");
	run_until_end(x);
	assert_reason(x, "QEMU 7.1 is too old: 7.2");
}

static void nonsense_on_qmp_ends_the_vm(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "nonsense");
	run_until_end(x);
	assert_reason(x, "not QMP");
}

static void full_host_ends_the_vm_and_is_told(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "full");
	run_until_end(x);
	assert_true(x->host_full);
	assert_reason(x, "no space left");
}

static void reason_of_the_guests_end_is_told(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "rebooted");
	run_until_end(x);
	assert_reason(x, "restarted");
}

static void guest_that_breaks_the_protocol_loses_its_vm(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "hostile");
	run_until_end(x);
	assert_reason(x, "impossible frame");
	assert_int_equal(x->hellos, 0);
}

static void quit_is_obeyed(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "obeying");
	run_for(x, 300);
	vm_quit(x->vm);
	run_until_end(x);
	assert_true(x->asked);
	assert_int_equal(x->wait_status, 0);
}

static void qemu_that_does_not_quit_is_killed(void **state)
{
	uint64_t start = deadline_now_ms();
	struct fixture *x = *state;

	start_fake(x, "disobeying");
	run_for(x, 300);
	vm_quit(x->vm);
	vm_quit(x->vm);
	run_until_end(x);
	assert_true(x->asked);
	assert_int_equal(WTERMSIG(x->wait_status), SIGKILL);
	assert_true(deadline_now_ms() - start < 10000);
}

static void end_that_begins_with_the_channels_is_explained_by_qemu(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "leaving");
	run_until_end(x);
	assert_string_equal(x->reason, "QEMU failed: qemu: cannot go on");
}

static void qemu_that_stays_without_its_channel_is_killed(void **state)
{
	struct fixture *x = *state;

	start_fake(x, "staying");
	run_until_end(x);
	assert_int_equal(WTERMSIG(x->wait_status), SIGKILL);
	assert_false(x->asked);
	assert_reason(x, "hung");
}

static struct vm_usage seen_usage;
static int usages;

static void on_usage(const struct vm_usage *usage, void *userdata)
{
	seen_usage = *usage;
	usages++;
}

static void run_until_usage(struct fixture *x)
{
	uint64_t deadline = deadline_in_ms(PATIENCE_US / 1000);

	while (usages == 0 && deadline_left_ms(deadline) > 0)
		assert_true(sd_event_run(x->event, 10000) >= 0);
	assert_int_equal(usages, 1);
}

/* The agent of none of these VMs answers. */
static void usage_is_what_was_said_in_time(void **state)
{
	struct fixture *x = *state;

	usages = 0;
	start_fake(x, "counters");
	run_for(x, 300);
	assert_int_equal(vm_query_usage(x->vm, true, on_usage, x), 0);
	assert_int_equal(vm_query_usage(x->vm, true, on_usage, x), -EBUSY);
	run_until_usage(x);
	assert_true(seen_usage.has_disk && !seen_usage.has_guest);
	assert_int_equal(seen_usage.disk_read_bytes, 5);
	assert_int_equal(seen_usage.disk_written_bytes, 7);
}

static void usage_that_nobody_tells_is_not_waited_for(void **state)
{
	struct fixture *x = *state;

	usages = 0;
	start_fake(x, "disobeying");
	run_for(x, 300);
	assert_int_equal(vm_query_usage(x->vm, true, on_usage, x), 0);
	run_until_usage(x);
	assert_false(seen_usage.has_disk || seen_usage.has_guest);
	vm_kill(x->vm);
	run_until_end(x);
	assert_int_equal(usages, 1);
}

static void usage_of_a_vm_that_ends_is_told_once_and_first(void **state)
{
	struct fixture *x = *state;

	usages = 0;
	start_fake(x, "vanishing");
	run_for(x, 300);
	assert_int_equal(vm_query_usage(x->vm, true, on_usage, x), 0);
	run_until_end(x);
	assert_int_equal(usages, 1);
	assert_false(seen_usage.has_disk || seen_usage.has_guest);
}

static void freed_vm_tells_no_usage(void **state)
{
	struct fixture *x = *state;

	usages = 0;
	start_fake(x, "disobeying");
	run_for(x, 300);
	assert_int_equal(vm_query_usage(x->vm, true, on_usage, x), 0);
	x->vm = vm_free(x->vm);
	run_for(x, 50);
	assert_int_equal(usages, 0);
}

static void freed_vm_leaves_no_process(void **state)
{
	struct fixture *x = *state;
	pid_t pid;

	start_fake(x, "disobeying");
	pid = vm_pid(x->vm);
	x->vm = vm_free(x->vm);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(x->ends, 0);
}

static void last_words_on_the_console_are_kept(void **state)
{
	struct fixture *x = *state;
	char text[100];

	start_fake(x, "talking");
	run_until_end(x);
	console_tail(vm_console(x->vm), text, sizeof(text));
	assert_string_equal(text, "Kernel panic - not syncing\n");
}

static void qemu_inherits_what_it_needs_and_nothing_else(void **state)
{
	int secret = open("/dev/null", O_RDONLY); /* not even close-on-exec */
	struct fixture *x = *state;

	start_fake(x, "counting");
	run_until_end(x);
	close(secret);
	assert_int_equal(WEXITSTATUS(x->wait_status), 55);
}

static void missing_qemu_says_what_to_install(void **state)
{
	struct vm_spec spec = plain_spec(0, 0);
	struct error err = {0};
	struct fixture *x = *state;

	spec.qemu = "/not/there/qemu";
	assert_int_equal(vm_start(x->event, &spec, &callbacks, x, &x->vm, &err), -ENOENT);
	assert_non_null(strstr(err.text, "apt install qemu-system-x86"));
	assert_null(x->vm);
}

/* QEMU takes a descriptor only if it was opened as the device needs it. */
static int make_disk(off_t size, bool writable)
{
	autoclose int fd = file_open_temporary("/tmp");
	char path[40];
	int opened;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	opened = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	assert_true(opened >= 0);
	return opened;
}

static void on_status(json_t *result, const char *error, void *userdata)
{
	struct fixture *x = userdata;

	if (result)
		vm_quit(x->vm);
}

/* Asks until QMP is negotiated, which it is once all devices are made. */
static int on_time_to_ask(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct fixture *x = userdata;

	qmp_execute(vm_qmp(x->vm), "query-status", NULL, on_status, x);
	sd_event_source_set_time_relative(source, 100000);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* The real QEMU takes every argument, with all devices at once and as many shares as may be. */
static void real_qemu_accepts_the_largest_vm(void **state)
{
	autoclose int disk = make_disk(1 << 20, false), scratch = make_disk(1 << 20, true),
		      seed = make_disk(1 << 20, false), overlay = -1;
	struct vm_spec spec = plain_spec(disk, -1);
	char source[] = "/tmp", target[] = "/mnt";
	sd_event_source *timer = NULL;
	struct fixture *x = *state;
	struct error err = {0};

	overlay = overlay_open("/tmp", 1 << 20, &err);
	assert_true(overlay >= 0);
	spec.qemu = NULL;
	spec.cpus = 4;
	spec.overlay_fd = overlay;
	spec.scratch_fd = scratch;
	spec.seed_fd = seed;
	spec.network = VM_NETWORK_USER;
	spec.mac = "52:54:00:00:00:01";
	spec.share_count = VM_SHARES_MAX;
	for (size_t i = 0; i < VM_SHARES_MAX; i++)
		spec.shares[i] = (struct vm_share){&gateway_9p, source, target, i % 2};
	if (vm_start(x->event, &spec, &callbacks, x, &x->vm, &err) == -ENOENT)
		skip();
	assert_non_null(x->vm);
	assert_true(sd_event_add_time_relative(
			    x->event, &timer, CLOCK_MONOTONIC, 100000, 0, on_time_to_ask, x) >= 0);
	run_until_end(x);
	sd_event_source_disable_unref(timer);
	if (x->wait_status != 0)
		fail_msg("%s", x->reason);
	assert_true(x->asked);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		EACH(complaint_of_qemu_is_the_reason),
		EACH(status_is_the_reason_when_nothing_else_is),
		EACH(killed_qemu_is_told_as_such),
		EACH(old_qemu_is_refused),
		EACH(nonsense_on_qmp_ends_the_vm),
		EACH(full_host_ends_the_vm_and_is_told),
		EACH(reason_of_the_guests_end_is_told),
		EACH(guest_that_breaks_the_protocol_loses_its_vm),
		EACH(quit_is_obeyed),
		EACH(qemu_that_does_not_quit_is_killed),
		EACH(end_that_begins_with_the_channels_is_explained_by_qemu),
		EACH(qemu_that_stays_without_its_channel_is_killed),
		EACH(usage_is_what_was_said_in_time),
		EACH(usage_that_nobody_tells_is_not_waited_for),
		EACH(usage_of_a_vm_that_ends_is_told_once_and_first),
		EACH(freed_vm_tells_no_usage),
		EACH(freed_vm_leaves_no_process),
		EACH(last_words_on_the_console_are_kept),
		EACH(qemu_inherits_what_it_needs_and_nothing_else),
		EACH(missing_qemu_says_what_to_install),
		EACH(real_qemu_accepts_the_largest_vm),
	};

	if (argc > 1 && streq(argv[1], "-nodefaults"))
		return fake_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
