/* The steps of a run, each started by the end of the one before:
 *
 *   fetch -> clone or boot -> prepare -> run -> stop
 *
 * Whatever goes wrong ends in run_fail(), which keeps the first reason and ends the VM; the loop is
 * left when QEMU is reaped. Callbacks of the VM and its parts never free them: what must follow is
 * put into the loop's next turn by run_later(). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>

#include "engine/accounting.h"
#include "engine/broker.h"
#include "engine/run_private.h"
#include "engine/warm.h"
#include "lib/child.h"
#include "lib/exit.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/timestamp.h"
#include "vm/passt.h"

/* What processes that outlive the command get between SIGTERM and SIGKILL. */
#define LEFTOVER_GRACE_MS 200

static void run_start(struct run *run);

static int on_later(sd_event_source *source, void *userdata)
{
	struct run *run = userdata;

	run->later_do(run);
	return 0;
}

void run_later(struct run *run, void (*what)(struct run *run))
{
	run->later_do = what;
	sd_event_source_set_enabled(run->later, SD_EVENT_ONESHOT);
}

/* Leaves the loop. The VM must be gone. */
static void run_finish(struct run *run)
{
	run->deadline = sd_event_source_disable_unref(run->deadline);
	phase_enter(&run->phases, run->failed ? PHASE_FAILED : PHASE_DONE);
	sd_event_exit(run->event, 0);
}

static void run_end_vm(struct run *run)
{
	if (run->vm)
		vm_kill(run->vm); /* run_finish() follows from on_vm_end() */
	else
		run_later(run, run_finish);
}

static void run_keep_console(struct run *run)
{
	if (run->vm)
		console_tail(vm_console(run->vm), run->console, sizeof(run->console));
}

/* What a user's own image does says nothing about the node. */
static void run_blame_node(struct run *run)
{
	if (run->request->node_failed && !run->resources.own_image)
		*run->request->node_failed = true;
}

void run_fail(struct run *run, const char *format, ...)
{
	va_list args;

	if (!run->failed) {
		run->failed = true;
		run->failed_in = run->phases.now;
		run->report.exit_code = EXIT_WNODES;
		va_start(args, format);
		vsnprintf(run->reason, sizeof(run->reason), format, args);
		va_end(args);
		if (run->control)
			run_refuse_tasks(run);
		if (run->phases.now == launch_phase(&run->launch)) {
			run_blame_node(run);
			run_keep_console(run);
			broker_tell_failed(run->resources.broker, run->reason);
		}
	}
	run_end_vm(run);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct run *run = userdata;
	char took[FORMAT_MAX];

	format_duration(phase_elapsed_us(&run->phases), took);
	if (run->phases.now == launch_phase(&run->launch) && launch_has_next(&run->launch)) {
		snprintf(run->late, sizeof(run->late), "its agent did not answer within %s", took);
		vm_kill(run->vm); /* on_vm_end() goes on */
		return 0;
	}
	run_fail(run,
		"not done after %s; a busy machine may need a longer [deadline] %s in wnodes.conf",
		took, phase_name(run->phases.now));
	return 0;
}

void run_enter(struct run *run, enum phase phase, uint64_t deadline_us)
{
	log_debug("%s", phase_name(phase));
	phase_enter(&run->phases, phase);
	run_note_phase(run);
	run->deadline = sd_event_source_disable_unref(run->deadline);
	if (deadline_us > 0)
		sd_event_add_time_relative(run->event, &run->deadline, CLOCK_MONOTONIC, deadline_us,
			0, on_deadline, run);
}

static void run_find_template(struct run *run)
{
	struct error err = {0};

	if (launch_find_template(&run->launch, &err) < 0)
		run_fail(run, "%s", err.text);
	else
		run_start(run);
}

static void run_fail_to_fetch(struct run *run, const char *why)
{
	int code = run->fetch_error.code;

	if (code == -ESHUTDOWN || code == -EHOSTDOWN)
		run_blame_node(run);
	run_fail(run, "%s", why);
}

/* The node may have let us wait. */
static void on_resources(const char *why, void *userdata)
{
	struct run *run = userdata;

	if (why)
		run_fail_to_fetch(run, why);
	else
		run_later(run, run_find_template);
}

static void run_fetch(struct run *run)
{
	const char *report = run->request->report;
	struct error *err = &run->fetch_error;
	int r;

	run_enter(run, PHASE_FETCH, 0);
	r = report ? report_check(report, err) : 0;
	if (r == 0)
		r = resources_open(
			run->event, run->request, &run->resources, on_resources, run, err);
	if (r < 0)
		run_fail_to_fetch(run, err->text);
	else if (r == 0)
		run_later(run, run_find_template);
}

static const char *run_hostname(const struct run *run)
{
	const struct request *request = run->request;

	if (run->resources.hostname && !(request->hostname && request->hostname_known))
		return run->resources.hostname;
	return request->hostname ? request->hostname : run->rundir.name;
}

/* On one of the node's networks no other is let through. */
static const char *run_mac(const struct run *run)
{
	return run->resources.card.mac[0] ? run->resources.card.mac : run->mac;
}

static void on_prepared(const char *error, void *userdata);

static int run_prepare(struct run *run)
{
	const struct prepare_vm vm = {
		.shares = &run->launch.shares,
		.hostname = run_hostname(run),
		.mac = run_mac(run),
		.card = &run->resources.card,
		.user_mtu = run->launch.passt.pidfd >= 0 ? PASST_MTU : 0,
		.identity = &run->identity,
		.is_clone = run->launch.cloning,
	};

	run_enter(run, PHASE_PREPARE, run->request->settings->prepare);
	return prepare_start(vm_agent(run->vm), run->request, &vm, on_prepared, run, &run->prepare);
}

static void on_agent(const struct hello_guest *hello, void *userdata)
{
	struct run *run = userdata;
	const struct request *request = run->request;
	struct error err = {0};
	int r;

	log_debug("agent %s, Linux %s, ready after %llu us of the guest's time",
		hello->agent_version, hello->kernel, (unsigned long long)hello->uptime_us);
	run->report.guest_boot_us = hello->uptime_us;
	run->agent_features = hello->features;
	if (request->probe)
		request->probe->agent_version = strdup(hello->agent_version);
	vm_get_times(run->vm, &run->report.times);
	if (run->launch.cloning)
		memcpy(run->report.template_key, run->launch.key, sizeof(run->launch.key));
	launch_succeeded(&run->launch, phase_elapsed_us(&run->phases));
	r = launch_check_agent(&run->launch, hello->features, &err);
	if (r < 0) {
		run_fail(run, "%s", err.text);
		return;
	}
	r = run_prepare(run);
	if (r < 0)
		run_fail(run, "cannot talk to the VM: %s", strerror(-r));
}

/* Starts the VM in another way, after one that it did not come up. */
static void run_try_next(struct run *run)
{
	struct error err = {0};

	if (launch_try_next(&run->launch, run->late, &err)) {
		run->vm = vm_free(run->vm);
		run->late[0] = '\0';
		run_start(run);
		return;
	}
	run_fail(run, "%s", err.code < 0 ? err.text : run->late);
	run_finish(run);
}

static void on_vm_end(const struct vm_end *end, void *userdata)
{
	struct run *run = userdata;

	run->report.qemu_rss_kib = MAX_OF(run->report.qemu_rss_kib, end->max_rss_kib);
	run->report.qemu_user_us += end->user_us;
	run->report.qemu_system_us += end->system_us;
	agent_get_traffic(
		vm_agent(run->vm), &run->report.bytes_to_guest, &run->report.bytes_from_guest);
	if (run->phases.now == launch_phase(&run->launch) && !run->failed &&
		launch_has_next(&run->launch)) {
		if (!run->late[0])
			snprintf(run->late, sizeof(run->late), "%s", end->reason);
		run_later(run, run_try_next);
		return;
	}
	if (!run->failed && !end->asked) { /* in PHASE_STOP too: what it wrote may be lost */
		run_keep_console(run);
		run_fail(run, "%s%s", end->reason,
			end->host_full ? "; free some, or set [vm] directory in wnodes.conf" : "");
	}
	run_later(run, run_finish);
}

/* While QEMU starts: this takes a millisecond. */
static int run_identify(struct run *run, struct error *err)
{
	return run->identity.machine_id[0]
		       ? 0
		       : vm_identity_new(run_hostname(run), &run->identity, err);
}

static void run_start(struct run *run)
{
	static const struct vm_callbacks callbacks = {on_agent, on_vm_end};
	struct error err = {0};
	struct vm_spec spec;

	run_enter(run, launch_phase(&run->launch), launch_deadline_us(&run->launch));
	log_debug("image %s:%s, %s, accelerator %s",
		run->resources.image_name ? run->resources.image_name : "-",
		run->resources.image_tag ? run->resources.image_tag : "-",
		run->resources.image_digest, accel_name(run->launch.shape.accel));
	if (run_start_gateways(run, &err) < 0) {
		run_fail(run, "%s", err.text);
		return;
	}
	launch_fill_spec(&run->launch, run->rundir.name, run_mac(run), &spec);
	if (volume_fill_spec(run->resources.volumes, run->resources.volume_count, run->rundir.path,
		    &spec, &err) < 0 ||
		vm_start(run->event, &spec, &callbacks, run, &run->vm, &err) < 0 ||
		run_identify(run, &err) < 0)
		run_fail(run, "%s", err.text);
	else {
		run->report.qemu_pid = vm_pid(run->vm);
		broker_set_vm(run->resources.broker, vm_pid(run->vm), run->rundir.name);
	}
}

/* Has whom the output was for gone away? Of a pipe and of a terminal that is no failure of ours. */
static bool run_reader_left(const struct run *run, int error)
{
	return error == EPIPE || (run->request->tty && error == EIO);
}

static void on_session_end(const struct session_end *end, void *userdata)
{
	struct run *run = userdata;
	int code = session_exit_code(end);

	if (code < 0)
		return; /* the VM is gone: on_vm_end() knows why */
	terminal_stop(&run->terminal);
	if (end->start_error)
		run_explain_start(run, end);
	if (end->status) {
		run->report.command = *end->status;
		run->report.has_command = true;
	}
	if (interrupt_timed_out(run->interrupt))
		code = EXIT_TIMEOUT;
	if (!run->failed)
		run->report.exit_code = code;
	if (end->output_error && !run_reader_left(run, end->output_error)) {
		run_fail(run, "cannot write the command's output: %s", strerror(end->output_error));
		return;
	}
	run_later(run, run_stop);
}

static void on_probe(const struct reply *reply, void *userdata)
{
	struct run *run = userdata;
	int r = reply ? probe_fill(reply, run->request->probe) : 0;

	if (r < 0)
		run_fail(run, "the VM's agent cannot say what it can do: %s", strerror(-r));
	else if (reply)
		run_later(run, run_stop);
}

/* Instead of a command: asks what the image can do. */
static void run_probe(struct run *run)
{
	run_enter(run, PHASE_RUN, run->request->settings->prepare);
	if (agent_call(vm_agent(run->vm), FRAME_PROBE, NULL, NULL, on_probe, run) < 0)
		run_fail(run, "cannot talk to the VM");
}

static int on_warmed(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct run *run = userdata;

	run->warming = sd_event_source_disable_unref(run->warming);
	child_wait(fd, 0);
	return 0;
}

/* Has a template made for the next run while this one's command does its work. */
static void run_warm(struct run *run)
{
	if (!launch_wants_template(&run->launch, run->agent_features))
		return;
	if (broker_has_templates(run->resources.broker)) {
		broker_tell_wish(run->resources.broker, &run->launch.shape, run->launch.key);
		return;
	}
	run->warm_fd = warm_in_background(&run->launch.shape, &run->resources);
	if (run->warm_fd >= 0)
		sd_event_add_io(run->event, &run->warming, run->warm_fd, EPOLLIN, on_warmed, run);
}

/* The command line in the VM, where a script has a place of its own, which a crew's command knows.
 * NULL when out of memory. */
static const char **run_argv(const struct request *request)
{
	size_t n = 0;
	const char **argv;

	while (request->argv[n])
		n++;
	argv = calloc(n + 1, sizeof(*argv));
	for (size_t i = 0; argv && i < n; i++)
		argv[i] = request->argv[i];
	if (argv && request->script && !request->crew)
		argv[0] = PREPARE_SCRIPT;
	return argv;
}

static const struct request_streams standard_streams = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};

/* The session closes what it gets. */
static int copy_stream(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void run_command(struct run *run)
{
	const struct request *request = run->request;
	autofree const char **argv = run_argv(request);
	struct exec_request exec = {
		.argv = argv,
		.env = (const char **)(uintptr_t)request->env.items,
		.workdir = request->workdir,
		.flags = EXEC_STDIN | (request->tty ? (uint32_t)EXEC_TTY : 0),
	};
	const struct request_streams *streams =
		request->streams ? request->streams : &standard_streams;
	int in = copy_stream(streams->stdin_fd), out = copy_stream(streams->stdout_fd);
	int errors = request->tty ? -1 : copy_stream(streams->stderr_fd);
	int r;

	run_enter(run, PHASE_RUN, 0);
	caller_fill_exec(request->caller, &exec);
	terminal_get_size(&exec.rows, &exec.columns);
	interrupt_set_running(run->interrupt, request->timeout_us);
	if (request->tty) {
		terminal_start(&run->terminal, STDIN_FILENO);
		interrupt_set_terminal(run->interrupt, STDIN_FILENO);
	}
	r = !argv ? -ENOMEM
		  : session_start(run->event, vm_agent(run->vm), &exec, in, out, errors,
			    on_session_end, run, &run->session);
	if (r < 0)
		run_fail(run, "cannot send the command to the VM: %s", strerror(-r));
}

/* All is ready for commands. */
static void run_begin(struct run *run)
{
	run->progress = progress_stop(run->progress);
	run_warm(run);
	if (run->request->tasks)
		run_tasks(run);
	else
		run_command(run);
}

static void on_prepared(const char *error, void *userdata)
{
	struct run *run = userdata;

	if (error)
		run_fail(run, "the VM could not %s", error);
	else
		run_later(run, run->request->probe ? run_probe : run_begin);
}

static void on_flushed(const struct reply *reply, void *userdata)
{
	struct run *run = userdata;

	if (reply && reply->error)
		run_fail(run, "the VM could not write back its files: %s: %s", reply->reason,
			strerror((int)reply->error));
	else if (reply)
		vm_kill(run->vm); /* QEMU has nothing that it need save */
}

/* Is there nothing to write back and nobody to wait for? What the VM has written to its own
 * disks is thrown away. */
static bool run_may_end_at_once(const struct run *run)
{
	return run->report.has_command && run->report.command.alone &&
	       run->request->shares.count == 0 && run->request->volumes.count == 0;
}

static void run_shut_down(struct run *run)
{
	const struct shutdown message = {SHUTDOWN_FLUSH, LEFTOVER_GRACE_MS};

	if (run_may_end_at_once(run) || agent_call(vm_agent(run->vm), FRAME_SHUTDOWN,
						shutdown_fields, &message, on_flushed, run) < 0)
		run_end_vm(run);
}

static void on_usage(const struct vm_usage *usage, void *userdata)
{
	struct run *run = userdata;

	run->report.usage = *usage;
	run_blame_memory(run);
	run_later(run, run_shut_down);
}

/* What the guest's kernel has counted costs a guest under emulation some milliseconds. Of one
 * without a network whose command ended well there is nothing to be learned. */
static bool run_asks_guest(const struct run *run)
{
	return run->request->usage || run->request->network != VM_NETWORK_NONE ||
	       run->request->tasks || run->report.exit_code != 0;
}

void run_stop(struct run *run)
{
	run_enter(run, PHASE_STOP, run->request->settings->stop);
	control_end_sessions(run->control);
	if (!(run->request->usage || accounting_is_wanted(run->request, &run->resources)) ||
		vm_query_usage(run->vm, run_asks_guest(run), on_usage, run) < 0)
		run_shut_down(run);
}

static void on_forward(int signo, bool group, void *userdata)
{
	struct run *run = userdata;

	if (run->session && session_stream(run->session))
		stream_signal(session_stream(run->session), signo, group);
}

static void on_resize(void *userdata)
{
	struct run *run = userdata;
	unsigned int rows, columns;

	terminal_get_size(&rows, &columns);
	if (run->request->tty && run->session && session_stream(run->session))
		stream_resize(session_stream(run->session), rows, columns);
}

void run_interrupt(struct run *run, int exit_code, const char *why)
{
	if (why)
		log_warning("%s; ending the VM", why);
	if (why && !run->failed)
		snprintf(run->reason, sizeof(run->reason), "%s", why);
	run->report.exit_code = exit_code;
	launch_stop(&run->launch); /* else the VM's end would start another */
	run_end_vm(run);
}

static void on_interrupt_end(int exit_code, const char *why, void *userdata)
{
	run_interrupt(userdata, exit_code, why);
}

/* A locally administered address with QEMU's prefix; unique enough, as each VM is alone on its
 * user network. */
static int run_choose_mac(struct run *run)
{
	uint8_t b[3];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return -errno;
	snprintf(run->mac, sizeof(run->mac), "52:54:00:%02x:%02x:%02x", b[0], b[1], b[2]);
	return 0;
}

static const char *get_waiting(const void *userdata)
{
	const struct run *run = userdata;

	return broker_get_waiting(run->resources.broker);
}

static int run_open(struct run *run, const struct request *request, struct error *err)
{
	static const struct interrupt_callbacks callbacks = {
		on_forward, on_resize, on_interrupt_end};
	int r = sd_event_new(&run->event);

	if (r >= 0)
		r = sd_event_add_defer(run->event, &run->later, on_later, run);
	if (r >= 0)
		r = sd_event_source_set_enabled(run->later, SD_EVENT_OFF);
	if (r >= 0)
		r = interrupt_open(run->event, request->patient ? 0 : request->settings->grace,
			&callbacks, run, &run->interrupt);
	if (r >= 0)
		r = run_choose_mac(run);
	if (r >= 0 && request->progress)
		r = progress_start(run->event, &run->phases, &run->progress);
	if (r >= 0 && run->progress)
		progress_set_note(run->progress, get_waiting, run);
	if (r >= 0)
		r = run_watch_start(run);
	if (r >= 0)
		r = run_watch_guardian(run);
	if (r < 0)
		return fail_errno(err, r, "cannot set up the event loop");
	return run_open_control(run, err);
}

static void run_close(struct run *run)
{
	terminal_stop(&run->terminal);
	progress_stop(run->progress);
	control_free(run->control);
	session_free(run->session);
	vm_free(run->vm);
	run_stop_gateways(run);
	prepare_free(run->prepare);
	interrupt_free(run->interrupt);
	run_status_done(run);
	vm_identity_done(&run->identity);
	resources_close(&run->resources);
	rundir_done(&run->rundir);
	sd_event_source_disable_unref(run->deadline);
	sd_event_source_disable_unref(run->later);
	sd_event_source_disable_unref(run->warming);
	sd_event_source_disable_unref(run->guardian);
	base_close(run->warm_fd);
	sd_event_unref(run->event);
}

int run_execute(const struct request *request)
{
	struct run run AUTO(run_close) = {
		.request = request,
		.rundir = {.lock_fd = -1},
		.resources = RESOURCES_INIT,
		.terminal = TERMINAL_INIT,
		.warm_fd = -1,
		.status_file = STATUS_FILE_INIT,
	};
	struct error err = {0};

	phase_start(&run.phases);
	run.accepted_us = timestamp_now_us();
	run.report = (struct report){.request = request,
		.resources = &run.resources,
		.shares = &run.launch.shares,
		.phases = &run.phases};
	launch_init(&run.launch, request, &run.resources);
	if (run_open(&run, request, &err) < 0) {
		log_error("%s", err.text);
		if (request->job)
			status_file_note_refusal(request->job, request->image, err.text);
		return EXIT_WNODES;
	}
	run_later(&run, run_fetch);
	sd_event_loop(run.event);
	run.report.accel = run.launch.shape.accel;
	run_tell(&run);
	accounting_write(&run.report);
	return run.report.exit_code;
}
