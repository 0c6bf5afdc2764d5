/* The VM here is this program again: as "QEMU" it speaks for a guest whose one command is cat. */
#include "engine/control.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "engine/attach.h"
#include "engine/packet.h"
#include "lib/deadline.h"
#include "lib/file.h"
#include "lib/message.h"
#include "lib/path.h"

#include <cmocka.h>

#define PATIENCE_MS 20000
#define FAKE_EXIT   7

/* ---- the guest ---- */

static int fake_channel(int argc, char **argv, const char *prefix)
{
	for (int i = 1; i < argc; i++)
		if (str_after(argv[i], prefix))
			return atoi(str_after(argv[i], prefix));
	return -1;
}

static int guest_flush(int fd, struct buffer *out)
{
	while (out->len > 0)
		if (buffer_write(out, fd) < 0)
			return -1;
	return 0;
}

static void guest_end(uint32_t id, struct buffer *out)
{
	const struct exit_status status = {.exited = 1, .code = FAKE_EXIT};

	frame_append(out, FRAME_DATA, id, FRAME_STDOUT, NULL, 0);
	frame_append(out, FRAME_DATA, id, FRAME_STDERR, NULL, 0);
	message_append_frame(out, FRAME_EXIT, id, 0, exit_status_fields, &status);
}

static void guest_on_exec(
	const struct frame *f, const struct exec_request *exec, struct buffer *out)
{
	const struct reply missing = {.error = ENOENT, .reason = "exec: cannot run 'missing'"};
	const struct reply done = {.error = 0};
	bool there = !streq(exec->argv[0], "missing");

	message_append_frame(out, FRAME_REPLY, f->id, 0, reply_fields, there ? &done : &missing);
	if (there && !(exec->flags & EXEC_STDIN))
		guest_end(f->id, out);
}

/* The whole behaviour of the guest: cat, whose end is an exit with FAKE_EXIT; "missing" is not
 * there; a signal ends the VM with its number. */
static void guest_on_frame(const struct frame *f, struct buffer *out)
{
	struct signal_request request;
	struct exec_request exec;

	if (f->type == FRAME_EXEC &&
		message_decode(exec_request_fields, f->payload, f->length, &exec) == 0) {
		guest_on_exec(f, &exec, out);
		message_release(exec_request_fields, &exec);
	} else if (f->type == FRAME_DATA && f->length > 0) {
		frame_append(out, FRAME_DATA, f->id, FRAME_STDOUT, f->payload, f->length);
	} else if (f->type == FRAME_DATA) {
		guest_end(f->id, out);
	} else if (f->type == FRAME_SIGNAL) {
		message_decode(signal_request_fields, f->payload, f->length, &request);
		_exit((int)request.signo);
	}
}

static int guest_main(int argc, char **argv)
{
	const struct hello_guest hello = {.magic = MESSAGE_MAGIC,
		.version_min = MESSAGE_VERSION,
		.version_max = MESSAGE_VERSION};
	int agent = fake_channel(argc, argv, "socket,id=agent,fd=");
	int console = fake_channel(argc, argv, "socket,id=console,fd=");
	struct buffer in = {0}, out = {0};
	struct frame f;

	if (write(console, "login: ", 7) != 7)
		return 99;
	message_append_frame(&out, FRAME_HELLO, 0, 0, hello_guest_fields, &hello);
	while (guest_flush(agent, &out) == 0 && buffer_read(&in, agent, 65536) > 0)
		while (frame_parse(&in, FRAME_GUEST_ACCEPTS_MAX, &f) > 0) {
			guest_on_frame(&f, &out);
			buffer_consume(&in, FRAME_HEADER_SIZE + f.length);
		}
	return 98;
}

/* ---- the host ---- */

struct fixture {
	sd_event *event;
	char directory[64];
	char *path;
	struct control *control;
	struct caller caller;
	struct vm *vm;
	bool vm_is_ready;
	int hellos, stops, ends, wait_status;
	int commands_ended, commands_wanted;
	int client;
};

static void on_agent(const struct hello_guest *hello, void *userdata)
{
	struct fixture *x = userdata;

	x->hellos++;
}

static void on_end(const struct vm_end *end, void *userdata)
{
	struct fixture *x = userdata;

	x->ends++;
	x->wait_status = end->wait_status;
}

static json_t *on_show(void *userdata)
{
	return json_pack("{s:s}", "name", "vm-12345678");
}

static struct vm *on_vm(void *userdata)
{
	struct fixture *x = userdata;

	return x->vm_is_ready ? x->vm : NULL;
}

static void on_stop(void *userdata)
{
	struct fixture *x = userdata;

	x->stops++;
}

static struct vm *on_any_vm(void *userdata)
{
	struct fixture *x = userdata;

	return x->vm;
}

static bool on_command_ended(void *userdata)
{
	struct fixture *x = userdata;

	return ++x->commands_ended == x->commands_wanted;
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	const struct control_host host = {
		on_show, on_vm, &x->caller, on_stop, on_any_vm, on_command_ended};
	struct error err = {0};

	*state = x;
	x->client = -1;
	signal(SIGPIPE, SIG_IGN);
	strcpy(x->directory, "/tmp/control-test.XXXXXX");
	assert_non_null(mkdtemp(x->directory));
	x->path = path_format("%s/control", x->directory);
	assert_true(sd_event_new(&x->event) >= 0);
	assert_int_equal(caller_load(&x->caller, &err), 0);
	assert_int_equal(control_open(x->event, x->path, &host, x, &x->control, &err), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	base_close(x->client);
	control_free(x->control);
	vm_free(x->vm);
	caller_done(&x->caller);
	sd_event_unref(x->event);
	file_remove_tree(AT_FDCWD, x->directory);
	free(x->path);
	free(x);
	return 0;
}

static void turn(struct fixture *x)
{
	while (sd_event_run(x->event, 0) > 0)
		continue;
}

/* Runs the loop until `*count` is above zero. */
static void wait_for(struct fixture *x, const int *count)
{
	uint64_t deadline = deadline_in_ms(PATIENCE_MS);

	while (*count == 0 && deadline_left_ms(deadline) > 0)
		assert_true(sd_event_run(x->event, 10000) >= 0);
	assert_true(*count > 0);
}

static void start_vm(struct fixture *x)
{
	static const struct vm_callbacks callbacks = {on_agent, on_end};
	autoclose int disk = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct vm_spec spec = {
		.name = "vm-12345678",
		.qemu = "/proc/self/exe",
		.cpus = 1,
		.memory_mib = 64,
		.memory_fd = -1,
		.state_fd = -1,
		.template_overlay_fd = -1,
		.kernel_fd = -1,
		.initrd_fd = -1,
		.disk_fd = disk,
		.disk_format = "raw",
		.overlay_fd = disk,
		.scratch_fd = -1,
		.seed_fd = -1,
	};
	struct error err = {0};

	if (vm_start(x->event, &spec, &callbacks, x, &x->vm, &err) < 0)
		fail_msg("%s", err.text);
	wait_for(x, &x->hellos);
	x->vm_is_ready = true;
}

static void connect_client(struct fixture *x)
{
	struct error err = {0};

	x->client = attach_open(x->path, &err);
	if (x->client < 0)
		fail_msg("%s", err.text);
	turn(x);
}

static void ask(struct fixture *x, const char *text, const int *fds, size_t fd_count)
{
	json_t *json = json_loads(text, 0, NULL);

	assert_non_null(json);
	assert_int_equal(packet_send(x->client, json, fds, fd_count), 0);
	json_decref(json);
	turn(x);
}

/* Waits for an answer to the client. Returns it, for json_decref(), with up to one descriptor. */
static json_t *answer(struct fixture *x, int *ret_fd)
{
	uint64_t deadline = deadline_in_ms(PATIENCE_MS);
	int fds[PACKET_FDS_MAX], r;
	json_t *json = NULL;
	size_t n = 0;

	file_set_nonblocking(x->client, true);
	while ((r = packet_recv(x->client, &json, fds, &n)) == -EAGAIN &&
		deadline_left_ms(deadline) > 0)
		sd_event_run(x->event, 10000);
	assert_int_equal(r, 1);
	assert_int_equal(n, ret_fd ? 1 : 0);
	if (ret_fd)
		*ret_fd = fds[0];
	return json;
}

static void assert_refused(struct fixture *x, const char *request, const char *why)
{
	const char *error;
	json_t *json;

	ask(x, request, NULL, 0);
	json = answer(x, NULL);
	error = json_string_value(json_object_get(json, "error"));
	if (!error || !strstr(error, why))
		fail_msg("%s: '%s' does not say '%s'", request, error ? error : "", why);
	json_decref(json);
}

static void vm_is_described(void **state)
{
	struct fixture *x = *state;
	json_t *json;

	connect_client(x);
	for (int i = 0; i < 3; i++) {
		ask(x, "{\"op\": \"show\"}", NULL, 0);
		json = answer(x, NULL);
		assert_string_equal(
			json_string_value(json_object_get(json_object_get(json, "vm"), "name")),
			"vm-12345678");
		json_decref(json);
	}
}

static void stop_is_answered_and_passed_on(void **state)
{
	struct fixture *x = *state;

	connect_client(x);
	ask(x, "{\"op\": \"stop\"}", NULL, 0);
	json_decref(answer(x, NULL));
	assert_int_equal(x->stops, 1);
}

static void what_cannot_be_done_is_refused_with_the_reason(void **state)
{
	struct fixture *x = *state;

	connect_client(x);
	assert_refused(x, "{\"op\": \"dance\"}", "no such operation");
	assert_refused(x, "{\"op\": 5}", "no such operation");
	assert_refused(x, "{}", "no such operation");
	assert_refused(x, "{\"op\": \"console\"}", "has not been started yet");
	assert_refused(x, "{\"op\": \"exec\", \"argv\": [\"cat\"], \"env\": []}",
		"cannot run commands now");
	start_vm(x);
	assert_refused(x, "{\"op\": \"exec\", \"argv\": [\"cat\"], \"env\": []}", "incomplete");
	assert_refused(x, "{\"op\": \"exec\"}", "incomplete");
	assert_refused(x, "{\"op\": \"exec\", \"argv\": [5], \"env\": []}", "incomplete");
	assert_refused(x, "{\"op\": \"exec\", \"argv\": {}, \"env\": []}", "incomplete");
	assert_int_equal(x->ends, 0);
}

static void garbage_ends_only_its_own_connection(void **state)
{
	struct fixture *x = *state;
	autoclose int other = -1;
	json_t *json = NULL;
	size_t n;

	connect_client(x);
	other = x->client;
	connect_client(x);
	assert_int_equal(send(other, "\xff\x00garbage", 9, 0), 9);
	turn(x);
	assert_int_equal(packet_recv(other, &json, (int[PACKET_FDS_MAX]){0}, &n), 0);
	ask(x, "{\"op\": \"show\"}", NULL, 0);
	json_decref(answer(x, NULL));
}

static void clients_beyond_the_limit_wait_for_nobody(void **state)
{
	struct fixture *x = *state;
	int clients[600];
	size_t n = 0, served = 0;

	for (; n < ARRAY_SIZE(clients); n++) {
		connect_client(x);
		clients[n] = x->client;
		file_set_nonblocking(clients[n], true);
	}
	for (size_t i = 0; i < n; i++) {
		char byte;
		ssize_t r = recv(clients[i], &byte, 1, 0);

		served += r < 0 && errno == EAGAIN;
		close(clients[i]);
	}
	turn(x);
	assert_true(served >= 16 && served < n);
	/* Those that left made room. */
	connect_client(x);
	ask(x, "{\"op\": \"show\"}", NULL, 0);
	json_decref(answer(x, NULL));
}

static void console_can_be_watched(void **state)
{
	struct fixture *x = *state;
	char text[16] = "";
	int fd = -1;

	start_vm(x);
	x->vm_is_ready = false; /* for commands: the console is wanted before */
	connect_client(x);
	ask(x, "{\"op\": \"console\"}", NULL, 0);
	json_decref(answer(x, &fd));
	assert_int_equal(read(fd, text, sizeof(text) - 1), 7);
	assert_string_equal(text, "login: ");
	close(fd);
}

/* Asks for a command with these descriptors, which stay the caller's. */
static void ask_exec(struct fixture *x, const char *command, int in, int out)
{
	const int fds[] = {in, out, out};
	autofree char *text = path_format(
		"{\"op\": \"exec\", \"argv\": [\"%s\"], \"env\": [], \"workdir\": \"/\"}", command);

	ask(x, text, fds, 3);
}

static void command_gets_the_clients_descriptors_and_its_status_comes_back(void **state)
{
	struct fixture *x = *state;
	char text[16] = "";
	int in[2], out[2];
	json_t *json, *end;

	start_vm(x);
	connect_client(x);
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(write(in[1], "through", 7), 7);
	ask_exec(x, "cat", in[0], out[1]);
	close(in[0]);
	close(in[1]);
	close(out[1]);
	json = answer(x, NULL);
	end = json_object_get(json, "exit");
	assert_int_equal(json_integer_value(json_object_get(end, "code")), FAKE_EXIT);
	json_decref(json);
	assert_int_equal(read(out[0], text, sizeof(text) - 1), 7);
	assert_string_equal(text, "through");
	close(out[0]);
}

static void command_that_is_missing_is_told(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct fixture *x = *state;
	json_t *json, *end;

	start_vm(x);
	connect_client(x);
	ask_exec(x, "missing", null, null);
	json = answer(x, NULL);
	end = json_object_get(json, "exit");
	assert_int_equal(json_integer_value(json_object_get(end, "code")), 127);
	assert_int_equal(json_integer_value(json_object_get(end, "start_error")), ENOENT);
	json_decref(json);
	close(null);
}

/* `wnodes vm exec`: its exit status; what it prints comes to `out`. */
static int attach_main(const struct fixture *x, const char *command, int out)
{
	const char *argv[] = {command, NULL}, *env[] = {"A=1", NULL};
	const struct attach_command attach = {argv, env, "/", false};
	struct error err = {0};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd = attach_open(x->path, &err);
	int r;

	if (fd < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(null, 2) < 0)
		return 250;
	r = attach_exec(fd, &attach, &err);
	dprintf(out, "%s", err.text);
	return r < 0 ? 251 : r;
}

/* Serves `wnodes vm exec` with a command; returns its exit status and what it said. */
static int run_attached(struct fixture *x, const char *command, char text[256])
{
	int out[2], status = 0, ended = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		_exit(attach_main(x, command, out[1]));
	close(out[1]);
	while (!ended) {
		sd_event_run(x->event, 10000);
		ended = waitpid(pid, &status, WNOHANG) == pid;
	}
	turn(x); /* lets go of the client's descriptors, so that there is an end to read to */
	n = read(out[0], text, 255);
	text[MAX_OF(n, 0)] = '\0';
	close(out[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void attached_command_ends_with_its_own_status(void **state)
{
	struct fixture *x = *state;
	char text[256];

	start_vm(x);
	assert_int_equal(run_attached(x, "cat", text), FAKE_EXIT);
	assert_string_equal(text, "");
	assert_int_equal(run_attached(x, "missing", text), 127);
	assert_non_null(strstr(text, "in the VM: cannot run 'missing': No such file"));
	assert_int_equal(x->ends, 0);
}

static void client_that_leaves_takes_its_command_along(void **state)
{
	struct fixture *x = *state;
	int in[2];

	start_vm(x);
	connect_client(x);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	ask_exec(x, "cat", in[0], in[1]);
	x->client = base_close(x->client);
	wait_for(x, &x->ends);
	assert_int_equal(WEXITSTATUS(x->wait_status), SIGKILL);
	close(in[0]);
	close(in[1]);
}

static void signals_are_passed_on_but_not_impossible_ones(void **state)
{
	struct fixture *x = *state;
	int in[2];

	start_vm(x);
	connect_client(x);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	ask_exec(x, "cat", in[0], in[1]);
	ask(x, "{\"op\": \"signal\", \"signal\": 0}", NULL, 0);
	ask(x, "{\"op\": \"signal\", \"signal\": -9}", NULL, 0);
	ask(x, "{\"op\": \"signal\", \"signal\": 65}", NULL, 0);
	ask(x, "{\"op\": \"signal\", \"signal\": \"9\"}", NULL, 0);
	ask(x, "{\"op\": \"signal\", \"signal\": 12}", NULL, 0);
	wait_for(x, &x->ends);
	assert_int_equal(WEXITSTATUS(x->wait_status), SIGUSR2);
	close(in[0]);
	close(in[1]);
}

static void long_path_says_what_to_change(void **state)
{
	const struct control_host host = {0};
	struct control *control = NULL;
	struct fixture *x = *state;
	struct error err = {0};
	char path[200];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(control_open(x->event, path, &host, x, &control, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "XDG_RUNTIME_DIR"));
}

/* Returns 0 if the VM does not talk to another user. */
static int ask_as_nobody(const struct fixture *x)
{
	json_t *json = json_pack("{s:s}", "op", "show"), *got = NULL;
	int fds[PACKET_FDS_MAX], fd, r;
	size_t n;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 1;
	fd = attach_open(x->path, NULL);
	if (fd < 0)
		return 2;
	packet_send(fd, json, NULL, 0);
	r = packet_recv(fd, &got, fds, &n);
	return r == 0 || r == -ECONNRESET ? 0 : 3;
}

static void answer_is_waited_for_until_the_deadline(void **state)
{
	struct fixture *x = *state;
	struct error err = {0};
	json_t *json = NULL;
	int fd = attach_open(x->path, NULL);

	/* Our own loop does not turn meanwhile, as that of a process that was stopped. */
	assert_int_equal(attach_ask(fd, "show", &err), 0);
	assert_int_equal(attach_answer(fd, deadline_in_ms(50), &json, NULL, &err), -ETIMEDOUT);
	assert_null(json);
	turn(x);
	assert_int_equal(attach_answer(fd, deadline_in_ms(PATIENCE_MS), &json, NULL, &err), 0);
	json_decref(json);
	close(fd);
}

static void other_users_are_not_served(void **state)
{
	struct fixture *x = *state;
	int ended = 0, status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(x->directory, 0755) | chmod(x->path, 0777), 0);
	pid = fork();
	if (pid == 0)
		_exit(ask_as_nobody(x));
	while (!ended) {
		sd_event_run(x->event, 10000);
		ended = waitpid(pid, &status, WNOHANG) == pid;
	}
	assert_int_equal(status, 0);
}

static void ask_waiting(struct fixture *x, int in, int out)
{
	int fds[] = {in, out, out};

	connect_client(x);
	ask(x,
		"{\"op\": \"exec\", \"argv\": [\"cat\"], \"env\": [], \"workdir\": \"/\", "
		"\"wait\": true, \"cpus\": [1]}",
		fds, 3);
}

static void assert_answer_has(struct fixture *x, const char *key)
{
	json_t *json = answer(x, NULL);

	assert_non_null(json_object_get(json, key));
	json_decref(json);
}

static void waiting_command_starts_when_the_vm_is_ready(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct fixture *x = *state;
	json_t *json;

	start_vm(x);
	x->vm_is_ready = false;
	x->commands_wanted = 1;
	ask_waiting(x, null, null);
	turn(x);
	assert_true(control_is_busy(x->control));
	x->vm_is_ready = true;
	control_start_waiting(x->control);
	assert_answer_has(x, "started");
	json = answer(x, NULL);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "exit"), "code")),
		FAKE_EXIT);
	assert_true(json_is_true(json_object_get(json, "last")));
	json_decref(json);
	assert_int_equal(x->commands_ended, 1);
	assert_false(control_is_busy(x->control));
	close(null);
}

static void waiting_commands_learn_why_there_is_no_vm(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct fixture *x = *state;
	json_t *json;

	ask_waiting(x, null, null);
	turn(x);
	control_refuse_waiting(x->control, "boot: no such luck");
	json = answer(x, NULL);
	assert_string_equal(
		json_string_value(json_object_get(json, "error")), "boot: no such luck");
	json_decref(json);
	close(null);
}

static void client_that_leaves_counts_as_ended(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct fixture *x = *state;

	ask_waiting(x, null, null);
	turn(x);
	assert_int_equal(x->commands_ended, 0);
	close(x->client);
	x->client = -1;
	turn(x);
	assert_int_equal(x->commands_ended, 1);
	close(null);
}

static void wrong_cpus_are_refused(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fds[] = {null, null, null};
	struct fixture *x = *state;
	json_t *json;

	start_vm(x);
	connect_client(x);
	ask(x, "{\"op\": \"exec\", \"argv\": [\"cat\"], \"env\": [], \"cpus\": [\"x\"]}", fds, 3);
	json = answer(x, NULL);
	assert_non_null(strstr(json_string_value(json_object_get(json, "error")), "incomplete"));
	json_decref(json);
	close(null);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		EACH(vm_is_described),
		EACH(stop_is_answered_and_passed_on),
		EACH(what_cannot_be_done_is_refused_with_the_reason),
		EACH(garbage_ends_only_its_own_connection),
		EACH(clients_beyond_the_limit_wait_for_nobody),
		EACH(console_can_be_watched),
		EACH(command_gets_the_clients_descriptors_and_its_status_comes_back),
		EACH(command_that_is_missing_is_told),
		EACH(attached_command_ends_with_its_own_status),
		EACH(client_that_leaves_takes_its_command_along),
		EACH(signals_are_passed_on_but_not_impossible_ones),
		EACH(long_path_says_what_to_change),
		EACH(answer_is_waited_for_until_the_deadline),
		EACH(other_users_are_not_served),
		EACH(waiting_command_starts_when_the_vm_is_ready),
		EACH(waiting_commands_learn_why_there_is_no_vm),
		EACH(client_that_leaves_counts_as_ended),
		EACH(wrong_cpus_are_refused),
	};

	if (argc > 1 && streq(argv[1], "-nodefaults"))
		return guest_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
