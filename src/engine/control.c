#include "engine/control.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "engine/packet.h"
#include "engine/session.h"
#include "lib/log.h"

#define CONTROL_CLIENTS_MAX 512
#define CONTROL_ARGS_MAX    4096
#define CONTROL_QUESTION_US (2 * UINT64_C(1000000))

struct client {
	struct control *control;
	sd_event_source *source;
	int fd;
	struct session *session;
	struct command *waiting; /* for the VM */
	bool counted;            /* its command counts among those that the VM is there for */
	/* Of a command that was killed the guest is asked whether its memory was full. */
	int64_t question; /* the call's id; 0: none is open */
	sd_event_source *question_timer;
	struct exit_status killed;
	int output_error;
};

/* What an EXEC asks for; the strings belong to `json`. */
struct command {
	json_t *json;
	const char **argv, **env;
	struct message_numbers cpus;
	int fds[3];
};

struct control {
	sd_event *event;
	sd_event_source *source;
	int fd;
	struct client *clients[CONTROL_CLIENTS_MAX];
	struct control_host host;
	void *userdata;
};

/* A request being answered. */
struct call {
	struct client *client;
	json_t *json;
	int *fds;
	size_t fd_count;
};

static void client_answer(struct client *c, json_t *answer, const int *fds, size_t fd_count)
{
	/* A client that has gone is noticed by its connection. */
	if (answer)
		packet_send(c->fd, answer, fds, fd_count);
	json_decref(answer);
}

static void client_refuse(struct client *c, const char *why)
{
	client_answer(c, json_pack("{s:s}", "error", why), NULL, 0);
}

static struct command *command_free(struct command *x)
{
	if (!x)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(x->fds); i++)
		base_close(x->fds[i]);
	free(x->argv);
	free(x->env);
	free(x->cpus.values);
	json_decref(x->json);
	free(x);
	return NULL;
}
DEFINE_CLEANUP(struct command *, command_free)

/* Returns true for the last command that the VM is there for. */
static bool client_count_end(struct client *c)
{
	const struct control_host *host = &c->control->host;

	if (!c->counted)
		return false;
	c->counted = false;
	return host->command_ended && host->command_ended(c->control->userdata);
}

/* The VM, whatever it does now. */
static struct vm *control_any_vm(const struct control *c)
{
	return (c->host.any_vm ? c->host.any_vm : c->host.vm)(c->userdata);
}

static void client_drop_question(struct client *c)
{
	struct vm *vm = c->question > 0 ? control_any_vm(c->control) : NULL;

	if (vm)
		agent_cancel_call(vm_agent(vm), (uint32_t)c->question);
	c->question = 0;
	c->question_timer = sd_event_source_disable_unref(c->question_timer);
}

static struct client *client_free(struct client *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (c->control->clients[i] == c)
			c->control->clients[i] = NULL;
	sd_event_source_disable_unref(c->source);
	client_drop_question(c);
	/* session_free() kills whoever has the terminal, which need not be the command itself. */
	if (c->session && session_stream(c->session))
		stream_signal(session_stream(c->session), SIGKILL, false);
	session_free(c->session);
	command_free(c->waiting);
	client_count_end(c);
	base_close(c->fd);
	free(c);
	return NULL;
}

static void on_show(struct call *call)
{
	struct control *control = call->client->control;
	json_t *vm = control->host.show(control->userdata);

	client_answer(call->client, json_pack("{s:o}", "vm", vm), NULL, 0);
}

static void on_stop(struct call *call)
{
	struct control *control = call->client->control;

	client_answer(call->client, json_object(), NULL, 0);
	control->host.stop(control->userdata);
}

/* A console is wanted most while the VM boots. */
static void on_console(struct call *call)
{
	struct client *c = call->client;
	struct vm *vm = control_any_vm(c->control);
	int pair[2];

	if (!vm) {
		client_refuse(c, "the VM has not been started yet; try again in a moment");
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		client_refuse(c, "out of descriptors");
		return;
	}
	if (console_watch(vm_console(vm), pair[0]) < 0)
		client_refuse(c, "too many are watching the console");
	else
		client_answer(c, json_object(), &pair[1], 1);
	close(pair[1]);
}

/* Returns the strings of a JSON array, or NULL. The list is the caller's, the strings are not. */
static const char **string_list(json_t *array)
{
	size_t n = json_array_size(array);
	const char **list = n <= CONTROL_ARGS_MAX ? calloc(n + 1, sizeof(*list)) : NULL;

	for (size_t i = 0; list && i < n; i++) {
		list[i] = json_string_value(json_array_get(array, i));
		if (!list[i]) {
			free(list);
			return NULL;
		}
	}
	return list;
}

/* Returns 0, or -EINVAL for what is no list of numbers. */
static int number_list(json_t *array, struct message_numbers *ret)
{
	size_t n = json_array_size(array);

	if (n > CONTROL_ARGS_MAX)
		return -EINVAL;
	ret->values = calloc(n + 1, sizeof(*ret->values));
	for (; ret->values && ret->count < n; ret->count++) {
		json_t *value = json_array_get(array, ret->count);
		if (!json_is_integer(value))
			return -EINVAL;
		ret->values[ret->count] = (uint32_t)json_integer_value(value);
	}
	return ret->values ? 0 : -EINVAL;
}

/* Takes the call's descriptors and its JSON. NULL if it is incomplete. */
static struct command *command_new(struct call *call)
{
	struct command *x AUTO(command_freep) = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->json = json_incref(call->json);
	x->argv = string_list(json_object_get(x->json, "argv"));
	x->env = string_list(json_object_get(x->json, "env"));
	for (size_t i = 0; i < ARRAY_SIZE(x->fds); i++)
		x->fds[i] = TAKE_FD(call->fds[i]);
	if (!x->argv || !x->argv[0] || !x->env || call->fd_count != ARRAY_SIZE(x->fds) ||
		number_list(json_object_get(x->json, "cpus"), &x->cpus) < 0)
		return NULL;
	return TAKE_PTR(x);
}

static json_t *end_to_json(const struct session_end *end, bool last)
{
	int code = session_exit_code(end);

	if (end->start_error)
		return json_pack("{s:{s:i, s:i, s:s}, s:b}", "exit", "code", code, "start_error",
			end->start_error, "reason", end->reason, "last", last);
	if (code < 0)
		return json_pack("{s:s}", "error", "the VM ended while the command ran");
	return json_pack("{s:{s:i, s:i}, s:b}", "exit", "code", code, "output_error",
		end->output_error, "last", last);
}

static void client_tell_killed(struct client *c, bool memory_full)
{
	const struct session_end end = {.status = &c->killed, .output_error = c->output_error};
	json_t *answer = end_to_json(&end, client_count_end(c));

	client_drop_question(c);
	json_object_set_new(
		json_object_get(answer, "exit"), "memory_full", json_boolean(memory_full));
	client_answer(c, answer, NULL, 0);
}

static void on_statistics(const struct reply *reply, void *userdata)
{
	struct client *c = userdata;
	struct vm_usage usage = {0};

	c->question = 0;
	client_tell_killed(
		c, reply && usage_take_statistics(&usage, reply) == 0 && usage.oom_kills > 0);
}

static int on_question_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	client_tell_killed(userdata, false);
	return 0;
}

/* The guest's kernel kills who takes the last of the memory; to the caller that is any SIGKILL.
 * Returns whether the answer will come. */
static bool client_ask_why(struct client *c, const struct session_end *end)
{
	struct vm *vm = control_any_vm(c->control);

	if (session_exit_code(end) != 128 + SIGKILL || !end->status || !vm)
		return false;
	c->killed = *end->status;
	c->output_error = end->output_error;
	c->question = agent_call(vm_agent(vm), FRAME_STATISTICS, NULL, NULL, on_statistics, c);
	if (c->question > 0 &&
		sd_event_add_time_relative(c->control->event, &c->question_timer, CLOCK_MONOTONIC,
			CONTROL_QUESTION_US, 0, on_question_late, c) >= 0)
		return true;
	client_drop_question(c);
	return false;
}

static void on_session_end(const struct session_end *end, void *userdata)
{
	struct client *c = userdata;

	if (client_ask_why(c, end))
		return;
	client_answer(c, end_to_json(end, client_count_end(c)), NULL, 0);
}

static bool command_is(const struct command *x, const char *what)
{
	return json_is_true(json_object_get(x->json, what));
}

static int command_start(struct command *x, struct client *c, struct vm *vm)
{
	struct exec_request request = {
		.argv = x->argv,
		.env = x->env,
		.workdir = json_string_value(json_object_get(x->json, "workdir")),
		.flags = EXEC_STDIN | (command_is(x, "tty") ? (uint32_t)EXEC_TTY : 0),
		.rows = (uint32_t)json_integer_value(json_object_get(x->json, "rows")),
		.columns = (uint32_t)json_integer_value(json_object_get(x->json, "columns")),
		.cpus = x->cpus,
	};

	caller_fill_exec(c->control->host.caller, &request);
	return session_start(c->control->event, vm_agent(vm), &request, TAKE_FD(x->fds[0]),
		TAKE_FD(x->fds[1]), TAKE_FD(x->fds[2]), on_session_end, c, &c->session);
}

static void client_start(struct client *c, struct command *x, struct vm *vm)
{
	if (command_is(x, "wait"))
		client_answer(c, json_pack("{s:b}", "started", true), NULL, 0);
	if (command_start(x, c, vm) < 0)
		client_refuse(c, "the command could not be sent to the VM");
}

static void on_exec(struct call *call)
{
	struct client *c = call->client;
	struct command *x AUTO(command_freep) = NULL;
	struct vm *vm = c->control->host.vm(c->control->userdata);
	bool waits = json_is_true(json_object_get(call->json, "wait"));

	if (!vm && !waits) {
		client_refuse(c, "the VM cannot run commands now");
		return;
	}
	x = c->session || c->waiting ? NULL : command_new(call);
	if (!x) {
		client_refuse(c, "the request to run a command is incomplete");
		return;
	}
	c->counted = waits;
	if (vm)
		client_start(c, x, vm);
	else
		c->waiting = TAKE_PTR(x);
}

void control_start_waiting(struct control *c)
{
	struct vm *vm = c->host.vm(c->userdata);

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *client = c->clients[i];
		if (!client || !client->waiting)
			continue;
		client_start(client, client->waiting, vm);
		client->waiting = command_free(client->waiting);
	}
}

bool control_is_busy(const struct control *c)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (c->clients[i] && c->clients[i]->counted)
			return true;
	return false;
}

void control_refuse_waiting(struct control *c, const char *why)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (c->clients[i] && c->clients[i]->waiting)
			client_refuse(c->clients[i], why);
}

static void on_signal(struct call *call)
{
	struct session *s = call->client->session;
	int signo = (int)json_integer_value(json_object_get(call->json, "signal"));

	/* The guest would take another number for a broken link. */
	if (s && session_stream(s) && signo > 0 && signo <= SIGRTMAX)
		stream_signal(session_stream(s), signo,
			json_is_true(json_object_get(call->json, "group")));
}

static void on_resize(struct call *call)
{
	struct session *s = call->client->session;

	if (s && session_stream(s))
		stream_resize(session_stream(s),
			(unsigned int)json_integer_value(json_object_get(call->json, "rows")),
			(unsigned int)json_integer_value(json_object_get(call->json, "columns")));
}

static const struct {
	const char *name;
	void (*handle)(struct call *call);
} operations[] = {
	{"show", on_show},
	{"stop", on_stop},
	{"console", on_console},
	{"exec", on_exec},
	{"signal", on_signal},
	{"resize", on_resize},
};

static void client_handle(struct call *call)
{
	const char *op = json_string_value(json_object_get(call->json, "op"));

	for (size_t i = 0; op && i < ARRAY_SIZE(operations); i++)
		if (streq(operations[i].name, op)) {
			operations[i].handle(call);
			return;
		}
	client_refuse(call->client, "no such operation");
}

static int client_on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct client *c = userdata;
	int fds[PACKET_FDS_MAX];
	struct call call = {.client = c, .fds = fds};
	int r;

	for (size_t i = 0; i < PACKET_FDS_MAX; i++)
		fds[i] = -1;
	r = packet_recv(fd, &call.json, fds, &call.fd_count);
	if (r <= 0) {
		if (r != -EAGAIN && r != -EINTR)
			client_free(c);
		return 0;
	}
	client_handle(&call);
	for (size_t i = 0; i < PACKET_FDS_MAX; i++)
		base_close(fds[i]);
	json_decref(call.json);
	return 0;
}

static bool control_may_connect(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return false;
	return peer.uid == geteuid() || peer.uid == 0;
}

static struct client **control_slot(struct control *c)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (!c->clients[i])
			return &c->clients[i];
	return NULL;
}

static int control_on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct control *c = userdata;
	autoclose int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client **slot = control_slot(c);
	struct client *client;

	if (connection < 0 || !slot || !control_may_connect(connection))
		return 0;
	client = calloc(1, sizeof(*client));
	if (!client)
		return 0;
	client->control = c;
	client->fd = TAKE_FD(connection);
	*slot = client;
	if (sd_event_add_io(
		    c->event, &client->source, client->fd, EPOLLIN, client_on_packet, client) < 0)
		client_free(client);
	return 0;
}

static int control_listen(const char *path, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return fail(err, -ENAMETOOLONG,
			"the path '%s' is too long for a socket; set XDG_RUNTIME_DIR to a shorter one",
			path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		listen(fd, CONTROL_CLIENTS_MAX) < 0)
		return fail_errno(err, -errno, "cannot listen on '%s'", path);
	return TAKE_FD(fd);
}

int control_open(sd_event *event, const char *path, const struct control_host *host, void *userdata,
	struct control **ret, struct error *err)
{
	struct control *c AUTO(control_freep) = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return fail(err, -ENOMEM, "out of memory");
	c->event = sd_event_ref(event);
	c->host = *host;
	c->userdata = userdata;
	c->fd = control_listen(path, err);
	if (c->fd < 0)
		return c->fd;
	r = sd_event_add_io(event, &c->source, c->fd, EPOLLIN, control_on_connection, c);
	if (r < 0)
		return fail_errno(err, r, "cannot watch '%s'", path);
	*ret = TAKE_PTR(c);
	return 0;
}

void control_end_sessions(struct control *c)
{
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (c->clients[i])
			c->clients[i]->session = session_free(c->clients[i]->session);
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		client_free(c->clients[i]);
	sd_event_source_disable_unref(c->source);
	base_close(c->fd);
	sd_event_unref(c->event);
	free(c);
	return NULL;
}
