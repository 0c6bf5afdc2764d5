#include "engine/attach.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "engine/interrupt.h"
#include "engine/packet.h"
#include "engine/terminal.h"
#include "lib/deadline.h"
#include "lib/json.h"
#include "lib/log.h"

#define ATTACH_ANSWER_MS 10000
#define ATTACH_CONNECT_S 2

/* As long as nobody has said otherwise; the VM's own grace applies when it is stopped. */
#define ATTACH_GRACE_US (10 * 1000 * 1000)

int attach_open(const char *socket_path, struct error *err)
{
	const struct timeval patience = {.tv_sec = ATTACH_CONNECT_S};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(socket_path) >= sizeof(address.sun_path))
		return fail(err, -EINVAL, "cannot connect to '%s'", socket_path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
		connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return fail_errno(err, -errno, "cannot reach the VM at '%s'", socket_path);
	return TAKE_FD(fd);
}

/* Receives an answer; one that is an error becomes ours. */
static int attach_recv(int socket, json_t **ret, int *ret_fd, struct error *err)
{
	int fds[PACKET_FDS_MAX];
	size_t n = 0;
	int r = packet_recv(socket, ret, fds, &n);

	if (r <= 0)
		return fail(err, r < 0 ? r : -ECONNRESET, "the VM ended");
	for (size_t i = ret_fd ? 1 : 0; i < n; i++)
		close(fds[i]);
	if (ret_fd)
		*ret_fd = n > 0 ? fds[0] : -1;
	return packet_check_refusal(ret, err);
}

int attach_ask(int socket, const char *op, struct error *err)
{
	json_t *request = json_pack("{s:s}", "op", op);
	int r = request ? packet_send(socket, request, NULL, 0) : -ENOMEM;

	json_decref(request);
	return r < 0 ? fail_errno(err, r, "cannot ask the VM") : 0;
}

int attach_answer(int socket, uint64_t deadline, json_t **ret, int *ret_fd, struct error *err)
{
	struct pollfd p = {.fd = socket, .events = POLLIN};
	int r = deadline_poll(&p, 1, deadline);

	if (r == -ETIMEDOUT)
		return fail(err, r, "the VM did not answer in time; is it stopped?");
	return r < 0 ? fail_errno(err, r, "cannot wait for the VM")
		     : attach_recv(socket, ret, ret_fd, err);
}

int attach_call(int socket, const char *op, json_t **ret, int *ret_fd, struct error *err)
{
	int r = attach_ask(socket, op, err);

	return r < 0 ? r
		     : attach_answer(socket, deadline_in_ms(ATTACH_ANSWER_MS), ret, ret_fd, err);
}

struct attached {
	sd_event *event;
	sd_event_source *source;
	struct interrupt *interrupt;
	struct terminal terminal;
	int socket;
	const struct attach_command *command;
	bool ending; /* the command has ended, the VM is about to */
	int exit_code;
	struct error *err;
};

/* Takes `message`. */
static int attached_send(struct attached *a, json_t *message, const int *fds, size_t fd_count)
{
	int r = message ? packet_send(a->socket, message, fds, fd_count) : -ENOMEM;

	json_decref(message);
	return r;
}

static void on_forward(int signo, bool group, void *userdata)
{
	attached_send(userdata,
		json_pack("{s:s, s:i, s:b}", "op", "signal", "signal", signo, "group", group), NULL,
		0);
}

static void on_resize(void *userdata)
{
	struct attached *a = userdata;
	unsigned int rows, columns;

	terminal_get_size(&rows, &columns);
	if (a->command->tty)
		attached_send(a,
			json_pack("{s:s, s:i, s:i}", "op", "resize", "rows", (int)rows, "columns",
				(int)columns),
			NULL, 0);
}

static void on_end(int exit_code, const char *why, void *userdata)
{
	struct attached *a = userdata;

	/* The connection's end kills the command. */
	a->exit_code = exit_code;
	sd_event_exit(a->event, 0);
}

/* What the agent says begins with the step that failed, and mostly ends with the errno's text. */
static int attach_explain(int code, const char *reason, int error, struct error *err)
{
	const char *after = str_after(reason, "exec: ");
	const char *text = strerror(error);

	if (strstr(reason, text))
		return fail(err, code, "in the VM: %s", after ? after : reason);
	return fail(err, code, "in the VM: %s: %s", after ? after : reason, text);
}

/* From now on signals are the command's. */
static void attached_set_running(struct attached *a)
{
	interrupt_set_running(a->interrupt, 0);
	if (a->command->tty) {
		terminal_start(&a->terminal, STDIN_FILENO);
		interrupt_set_terminal(a->interrupt, STDIN_FILENO);
	}
}

static void attached_on_exit(struct attached *a, json_t *end)
{
	const char *reason = json_string_value(json_object_get(end, "reason"));
	int error = (int)json_integer_value(json_object_get(end, "start_error"));

	a->exit_code = (int)json_integer_value(json_object_get(end, "code"));
	if (json_is_true(json_object_get(end, "memory_full")))
		log_warning(
			"the command was killed because the VM's memory was full; ask for more");
	if (error > 0)
		attach_explain(a->exit_code, reason ? reason : "", error, a->err);
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct attached *a = userdata;
	json_auto_t *answer = NULL;
	int r = attach_recv(fd, &answer, NULL, a->ending ? NULL : a->err);

	if (r == 0 && json_is_true(json_object_get(answer, "started"))) {
		attached_set_running(a);
		return 0;
	}
	if (r == 0)
		attached_on_exit(a, json_object_get(answer, "exit"));
	else if (!a->ending)
		a->exit_code = r;
	/* What it wrote to shared directories is there when the VM has ended. */
	a->ending = r == 0 && json_is_true(json_object_get(answer, "last"));
	if (a->ending && a->command->ret_last)
		*a->command->ret_last = true;
	return a->ending ? 0 : sd_event_exit(a->event, 0);
}

static json_t *cpus_to_json(const struct attach_command *command)
{
	json_t *list = json_array();

	for (size_t i = 0; i < command->cpu_count; i++)
		json_array_append_new(list, json_integer(command->cpus[i]));
	return list;
}

static int attached_start(struct attached *a, const struct attach_command *command)
{
	static const int own[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
	unsigned int rows, columns;

	terminal_get_size(&rows, &columns);
	return attached_send(a,
		json_pack("{s:s, s:o, s:o, s:s, s:b, s:i, s:i, s:b, s:o}", "op", "exec", "argv",
			json_from_strings(command->argv), "env", json_from_strings(command->env),
			"workdir", command->workdir, "tty", command->tty, "rows", (int)rows,
			"columns", (int)columns, "wait", command->wait, "cpus",
			cpus_to_json(command)),
		command->fds ? command->fds : own, ARRAY_SIZE(own));
}

static int attached_open(struct attached *a)
{
	static const struct interrupt_callbacks callbacks = {on_forward, on_resize, on_end};
	int r = sd_event_new(&a->event);

	if (r >= 0)
		r = interrupt_open(a->event, a->command->patient ? 0 : ATTACH_GRACE_US, &callbacks,
			a, &a->interrupt);
	if (r >= 0)
		r = sd_event_add_io(a->event, &a->source, a->socket, EPOLLIN, on_answer, a);
	return r;
}

static void attached_close(struct attached *a)
{
	terminal_stop(&a->terminal);
	interrupt_free(a->interrupt);
	sd_event_source_disable_unref(a->source);
	sd_event_unref(a->event);
}

int attach_exec(int socket, const struct attach_command *command, struct error *err)
{
	struct attached a AUTO(attached_close) = {
		.socket = socket,
		.command = command,
		.terminal = TERMINAL_INIT,
		.err = err,
	};
	int r = attached_open(&a);

	if (r >= 0)
		r = attached_start(&a, command);
	if (r < 0)
		return fail_errno(err, r, "cannot run the command in the VM");
	if (!command->wait)
		attached_set_running(&a);
	r = sd_event_loop(a.event);
	return r < 0 ? fail_errno(err, r, "the event loop failed") : a.exit_code;
}
