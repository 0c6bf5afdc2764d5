#include "vm/vm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/buffer.h"
#include "lib/child.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "vm/command.h"
#include "vm/disks.h"
#include "vm/migration.h"
#include "vm/pinning.h"

/* How long QEMU may take to obey "quit", and to end by itself: it only has to close files. */
#define VM_QUIT_US (2 * 1000 * 1000)

/* The oldest QEMU whose behaviour this program was made for. */
#define QEMU_MAJOR_MIN 7
#define QEMU_MINOR_MIN 2

/* A socket's buffer towards the guest: large enough for a full window, so that one wake-up of QEMU
 * moves many frames. */
#define VM_CHANNEL_BUFFER (512 * 1024)

#define VM_REASON_MAX 512

/* How long the question for the usage waits for its answers: a guest may be busy, or hostile. */
#define VM_USAGE_US (2 * 1000 * 1000)

struct vm {
	sd_event *event;
	sd_event_source *exit_source, *quit_timer;
	pid_t pid;
	int pidfd;
	struct qmp *qmp;
	struct migration *migration;
	int state_fd; /* QEMU's, that a clone starts from; -1: it boots */
	uint64_t scratch_bytes;
	struct agent *agent;
	struct vm_times times;
	struct qmp_version version;
	struct console *console;
	struct console *messages; /* QEMU's stderr */
	bool asked, ended, host_full, pin_cpus;
	char reason[VM_REASON_MAX]; /* the first cause of the end */
	struct vm_callbacks callbacks;
	void *userdata;
	/* The question for the usage: */
	struct vm_usage usage;
	void (*usage_done)(const struct vm_usage *usage, void *userdata); /* NULL: none is asked */
	void *usage_userdata;
	sd_event_source *usage_timer;
	int usage_open; /* answers that are still to come */
};

/* Our ends and QEMU's ends of its channels. */
struct channels {
	int qmp[2], agent[2], console[2], messages[2];
};

static void channels_done(struct channels *c)
{
	for (int i = 0; i < 2; i++) {
		base_close(c->qmp[i]);
		base_close(c->agent[i]);
		base_close(c->console[i]);
		base_close(c->messages[i]);
	}
}

static int channels_open(struct channels *c)
{
	int size = VM_CHANNEL_BUFFER;

	*c = (struct channels){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->qmp) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->agent) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->console) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->messages) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) /* a smaller buffer only costs speed */
		setsockopt(c->agent[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

static void vm_terminate(struct vm *vm)
{
	if (!vm->ended)
		syscall(SYS_pidfd_send_signal, vm->pidfd, SIGKILL, NULL, 0);
}

static void vm_blame(struct vm *vm, const char *reason)
{
	if (vm->reason[0] == '\0')
		snprintf(vm->reason, sizeof(vm->reason), "%s", reason);
}

static int on_end_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct vm *vm = userdata;

	vm_blame(vm, "QEMU hung when it was to end");
	vm_terminate(vm);
	return 0;
}

/* Kills QEMU if it does not end soon. */
static int vm_expect_end(struct vm *vm)
{
	if (vm->ended || vm->quit_timer)
		return 0;
	return sd_event_add_time_relative(
		vm->event, &vm->quit_timer, CLOCK_MONOTONIC, VM_QUIT_US, 0, on_end_late, vm);
}

/* The template's scratch disk was empty. That its size is set makes QEMU tell the guest of it. */
static void vm_announce_scratch(struct vm *vm)
{
	if (vm->scratch_bytes > 0)
		qmp_execute(vm->qmp, "block_resize",
			json_pack("{s:s, s:I}", "node-name", DISKS_SCRATCH_NODE, "size",
				(json_int_t)vm->scratch_bytes),
			NULL, NULL);
}

static void on_restored(const char *error, void *userdata)
{
	struct vm *vm = userdata;
	char reason[VM_REASON_MAX];

	vm->times.restored = clock_now_us();
	if (!error) {
		vm_announce_scratch(vm);
		return;
	}
	snprintf(reason, sizeof(reason), "the template's state could not be loaded: %s", error);
	vm_blame(vm, reason);
	vm_terminate(vm);
}

/* The agent in a template waits for a host that speaks first; what is sent now it finds when it
 * goes on. */
static void vm_restore(struct vm *vm)
{
	int r = agent_greet(vm->agent);

	if (r >= 0)
		r = migration_load(vm->qmp, vm->state_fd, on_restored, vm, &vm->migration);
	if (r < 0)
		on_restored(strerror(-r), vm);
}

static bool version_will_do(const struct qmp_version *v)
{
	return v->major > QEMU_MAJOR_MIN ||
	       (v->major == QEMU_MAJOR_MIN && v->minor >= QEMU_MINOR_MIN);
}

static void on_qmp_ready(const struct qmp_version *v, void *userdata)
{
	struct vm *vm = userdata;
	char reason[VM_REASON_MAX];

	vm->times.ready = clock_now_us();
	vm->version = *v;
	if (version_will_do(v)) {
		if (vm->pin_cpus)
			pinning_start(vm->qmp);
		if (vm->state_fd >= 0)
			vm_restore(vm);
		return;
	}
	snprintf(reason, sizeof(reason),
		"QEMU %d.%d is too old: %d.%d or later is needed (Debian 12: apt install "
		"qemu-system-x86)",
		v->major, v->minor, QEMU_MAJOR_MIN, QEMU_MINOR_MIN);
	vm_blame(vm, reason);
	vm_terminate(vm);
}

static void on_io_error(struct vm *vm, json_t *data)
{
	vm->host_full = json_is_true(json_object_get(data, "nospace"));
	vm_blame(vm, vm->host_full ? "the host has no space left for the VM's writes"
				   : "the host could not store the VM's writes (I/O error)");
	vm_terminate(vm);
}

static void on_shutdown(struct vm *vm, json_t *data)
{
	const char *why = json_string_value(json_object_get(data, "reason"));

	if (why && streq(why, "guest-reset"))
		vm_blame(vm, "the guest restarted: its kernel panicked, or it was told to reboot");
	else if (why && streq(why, "guest-panic"))
		vm_blame(vm, "the guest's kernel panicked");
	else if (why && str_after(why, "guest-"))
		vm_blame(vm, "the guest switched itself off");
}

static void on_qmp_event(const char *name, json_t *data, void *userdata)
{
	struct vm *vm = userdata;

	if (streq(name, "BLOCK_IO_ERROR"))
		on_io_error(userdata, data);
	else if (streq(name, "SHUTDOWN"))
		on_shutdown(userdata, data);
	else if (vm->migration)
		migration_on_event(vm->migration, name, data);
}

static void on_qmp_closed(int error, void *userdata)
{
	struct vm *vm = userdata;

	if (error == -EPROTO) {
		vm_blame(vm, "QEMU sent something that is not QMP");
		vm_terminate(vm);
	}
}

static void on_agent_hello(const struct hello_guest *hello, void *userdata)
{
	struct vm *vm = userdata;

	vm->times.hello = clock_now_us();
	vm->callbacks.on_agent(hello, vm->userdata);
}

static void on_agent_lost(const char *reason, void *userdata)
{
	struct vm *vm = userdata;

	/* When QEMU ends, it closes its channels first: its own end says why, unless it does not
	 * come. Any other end of the link is the guest's fault. */
	if (strstr(reason, "closed the agent's channel") && vm_expect_end(vm) >= 0)
		return;
	vm_blame(vm, reason);
	vm_terminate(vm);
}

static int vm_open_channels(struct vm *vm, struct channels *c)
{
	static const struct qmp_callbacks qmp = {on_qmp_ready, on_qmp_event, on_qmp_closed};
	static const struct agent_callbacks agent = {on_agent_hello, on_agent_lost};
	int r = qmp_open(vm->event, TAKE_FD(c->qmp[0]), &qmp, vm, &vm->qmp);

	if (r >= 0)
		r = agent_open(vm->event, TAKE_FD(c->agent[0]), &agent, vm, &vm->agent);
	if (r >= 0)
		r = console_open(vm->event, TAKE_FD(c->console[0]), &vm->console);
	if (r >= 0)
		r = console_open(vm->event, TAKE_FD(c->messages[0]), &vm->messages);
	return r;
}

/* The reason of an end that nothing explained yet. */
static void vm_blame_status(struct vm *vm, int status)
{
	char reason[VM_REASON_MAX], messages[VM_REASON_MAX / 2];
	size_t n = vm_messages(vm, messages, sizeof(messages));

	while (n > 0 && (messages[n - 1] == '\n' || messages[n - 1] == '\r'))
		messages[--n] = '\0';
	for (size_t i = 0; i < n; i++) /* a reason is one line */
		if (messages[i] == '\n' || messages[i] == '\r')
			messages[i] = ' ';
	if (WIFSIGNALED(status))
		snprintf(reason, sizeof(reason), "QEMU was killed by signal %d%s%s",
			WTERMSIG(status),
			n > 0                         ? ": "
			: WTERMSIG(status) == SIGKILL ? " (out of memory, or by hand)"
						      : "",
			messages);
	else if (n > 0)
		snprintf(reason, sizeof(reason), "QEMU failed: %s", messages);
	else
		snprintf(reason, sizeof(reason), "QEMU ended with status %d", WEXITSTATUS(status));
	vm_blame(vm, reason);
}

static uint64_t timeval_us(struct timeval tv)
{
	return (uint64_t)tv.tv_sec * 1000000 + (uint64_t)tv.tv_usec;
}

static int vm_on_exit(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct vm *vm = userdata;
	struct rusage usage = {0};
	struct vm_end end = {.asked = vm->asked};

	vm->exit_source = sd_event_source_disable_unref(vm->exit_source);
	vm->quit_timer = sd_event_source_disable_unref(vm->quit_timer);
	wait4(vm->pid, &end.wait_status, 0, &usage);
	vm->ended = true;
	console_drain(vm->console);
	console_drain(vm->messages);
	qmp_drain(vm->qmp);
	vm_blame_status(vm, end.wait_status);
	end.reason = vm->reason;
	end.host_full = vm->host_full;
	end.max_rss_kib = (uint64_t)usage.ru_maxrss;
	end.user_us = timeval_us(usage.ru_utime);
	end.system_us = timeval_us(usage.ru_stime);
	vm->callbacks.on_end(&end, vm->userdata);
	return 0;
}

static void log_command(const struct strv *argv)
{
	struct buffer text AUTO(buffer_done) = {0};

	for (size_t i = 0; i < argv->count; i++) {
		buffer_append(&text, " ", 1);
		buffer_append(&text, argv->items[i], strlen(argv->items[i]));
	}
	if (buffer_append(&text, "", 1) == 0)
		log_debug("QEMU:%s", (const char *)buffer_head(&text));
}

static int vm_spawn(
	struct vm *vm, const struct vm_spec *spec, struct channels *c, struct error *err)
{
	const struct command_channels ends = {c->qmp[1], c->agent[1], c->console[1]};
	struct strv argv AUTO(strv_done) = {0};
	struct child_spec child = CHILD_SPEC_INIT;
	int keep[COMMAND_FDS_MAX];
	int r;

	if (command_build(spec, &ends, &argv) < 0)
		return fail(err, -ENOMEM, "out of memory");
	log_command(&argv);
	child.argv = strv_list(&argv);
	child.keep = keep;
	child.keep_count = command_descriptors(spec, &ends, keep);
	child.stdout_fd = child.stderr_fd = c->messages[1];
	child.new_session = true;
	child.unasked = true; /* the command is asked, and its end is the VM's */
	child.no_new_privs = true;
	r = child_spawn(&child, &vm->pid, &vm->pidfd, err);
	if (r == -ENOENT)
		return fail(err, r,
			"%s was not found; install QEMU (Debian: apt install qemu-system-x86)",
			child.argv[0]);
	return r;
}

int vm_start(sd_event *event, const struct vm_spec *spec, const struct vm_callbacks *callbacks,
	void *userdata, struct vm **ret, struct error *err)
{
	struct vm *vm AUTO(vm_freep) = calloc(1, sizeof(*vm));
	struct channels channels AUTO(channels_done);
	int r = channels_open(&channels);

	if (!vm)
		return fail(err, -ENOMEM, "out of memory");
	vm->pidfd = -1;
	vm->state_fd = spec->start == VM_START_CLONE ? spec->state_fd : -1;
	vm->pin_cpus = spec->pin_cpus;
	vm->scratch_bytes = spec->scratch_fd >= 0 ? spec->scratch_bytes : 0;
	if (r < 0)
		return fail_errno(err, r, "cannot make the VM's channels");
	vm->event = sd_event_ref(event);
	vm->callbacks = *callbacks;
	vm->userdata = userdata;
	r = vm_open_channels(vm, &channels);
	if (r < 0)
		return fail_errno(err, r, "cannot watch the VM's channels");
	r = vm_spawn(vm, spec, &channels, err);
	if (r < 0)
		return r;
	vm->times.spawned = clock_now_us();
	/* The pidfd becomes readable when QEMU ends; unlike sd_event_add_child() this leaves
	 * SIGCHLD alone, so that child_run() may be used beside it. */
	r = sd_event_add_io(event, &vm->exit_source, vm->pidfd, EPOLLIN, vm_on_exit, vm);
	if (r < 0)
		return fail_errno(err, r, "cannot watch QEMU");
	/* After the channels' own events, so that QEMU's last words are heard before its end. */
	sd_event_source_set_priority(vm->exit_source, SD_EVENT_PRIORITY_IDLE);
	*ret = TAKE_PTR(vm);
	return 0;
}

struct vm *vm_free(struct vm *vm)
{
	if (!vm)
		return NULL;
	if (vm->pidfd >= 0 && !vm->ended) {
		syscall(SYS_pidfd_send_signal, vm->pidfd, SIGKILL, NULL, 0);
		sd_event_source_disable_unref(vm->exit_source);
		waitpid(vm->pid, NULL, 0);
	}
	sd_event_source_disable_unref(vm->quit_timer);
	sd_event_source_disable_unref(vm->usage_timer);
	vm->usage_done = NULL; /* who asked need not be there any more */
	agent_free(vm->agent);
	qmp_free(vm->qmp);
	migration_free(vm->migration);
	console_free(vm->console);
	console_free(vm->messages);
	base_close(vm->pidfd);
	sd_event_unref(vm->event);
	free(vm);
	return NULL;
}

struct agent *vm_agent(const struct vm *vm)
{
	return vm->agent;
}

struct console *vm_console(const struct vm *vm)
{
	return vm->console;
}

struct qmp *vm_qmp(const struct vm *vm)
{
	return vm->qmp;
}

pid_t vm_pid(const struct vm *vm)
{
	return vm->pid;
}

void vm_qemu_version(const struct vm *vm, char *ret, size_t size)
{
	const struct qmp_version *v = &vm->version;

	snprintf(ret, size, "%d.%d.%d", v->major, v->minor, v->micro);
}

void vm_get_times(const struct vm *vm, struct vm_times *ret)
{
	*ret = vm->times;
}

bool vm_is_ending(const struct vm *vm)
{
	return vm->asked || vm->ended;
}

int vm_save(struct vm *vm, int state_fd, void (*done)(const char *error, void *userdata),
	void *userdata)
{
	vm->migration = migration_free(vm->migration);
	return migration_save(vm->qmp, state_fd, done, userdata, &vm->migration);
}

size_t vm_messages(const struct vm *vm, char *ret, size_t max)
{
	return console_tail(vm->messages, ret, max);
}

static void usage_finish(struct vm *vm)
{
	void (*done)(const struct vm_usage *, void *) = TAKE_PTR(vm->usage_done);

	vm->usage_timer = sd_event_source_disable_unref(vm->usage_timer);
	if (done)
		done(&vm->usage, vm->usage_userdata);
}

static void usage_answered(struct vm *vm)
{
	if (vm->usage_open > 0 && --vm->usage_open == 0)
		usage_finish(vm);
}

static void on_blockstats(json_t *result, const char *error, void *userdata)
{
	struct vm *vm = userdata;

	if (result)
		usage_take_blockstats(&vm->usage, result);
	usage_answered(vm);
}

static void on_statistics(const struct reply *reply, void *userdata)
{
	struct vm *vm = userdata;

	if (reply)
		usage_take_statistics(&vm->usage, reply);
	usage_answered(vm);
}

static int on_usage_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	usage_finish(userdata);
	return 0;
}

int vm_query_usage(struct vm *vm, bool guest,
	void (*done)(const struct vm_usage *usage, void *userdata), void *userdata)
{
	int r;

	/* Answers to an earlier question that came too late for it still have to come. */
	if (vm->usage_done || vm->usage_open > 0)
		return -EBUSY;
	vm->usage = (struct vm_usage){0};
	vm->usage_done = done;
	vm->usage_userdata = userdata;
	r = sd_event_add_time_relative(
		vm->event, &vm->usage_timer, CLOCK_MONOTONIC, VM_USAGE_US, 0, on_usage_late, vm);
	if (r >= 0)
		r = qmp_execute(vm->qmp, "query-blockstats", NULL, on_blockstats, vm);
	vm->usage_open += r >= 0;
	if (r >= 0 && guest &&
		agent_call(vm->agent, FRAME_STATISTICS, NULL, NULL, on_statistics, vm) >= 0)
		vm->usage_open++;
	if (r < 0) {
		vm->usage_done = NULL;
		usage_finish(vm);
	}
	return MIN_OF(r, 0);
}

void vm_kill(struct vm *vm)
{
	vm->asked = true;
	vm_terminate(vm);
}

void vm_quit(struct vm *vm)
{
	vm->asked = true;
	if (vm->ended || vm->quit_timer)
		return;
	if (qmp_execute(vm->qmp, "quit", NULL, NULL, NULL) < 0 || vm_expect_end(vm) < 0)
		vm_kill(vm);
}
