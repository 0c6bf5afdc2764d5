/* The agent's loop runs in a forked child on one end of a socket pair, so that a test can see how
 * it ends, and a crash of it fails the test.
 */
#include "guest/host_test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "guest/guest.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

#define HOST_WAIT_MS 20000 /* valgrind and sanitizers are slow */
#define HOST_CREDIT  (FRAME_WINDOW / 4)

static const char *const host_env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};

/* In a VM, what the agent leaves behind ends with the VM. */
static void end_processes(void)
{
	char path[64], line[4096];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	do {
		file = fopen(path, "re");
		if (file && fgets(line, sizeof(line), file))
			for (char *p = line, *end; *p; p = end + strspn(end, " \n")) {
				pid_t pid = (pid_t)strtol(p, &end, 10);

				if (pid <= 1 || end == p)
					break;
				kill(pid, SIGKILL);
			}
		if (file)
			fclose(file);
	} while (waitpid(-1, NULL, 0) > 0 || errno == EINTR);
}

static void __attribute__((noreturn)) agent_run(int fd, const char *root)
{
	static struct guest g;
	char port[16];
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* What the test's own parent left open is no leak of the agent. */
	close_range(STDERR_FILENO + 1, (unsigned)fd - 1, CLOSE_RANGE_CLOEXEC);
	close_range((unsigned)fd + 1, UINT32_MAX, CLOSE_RANGE_CLOEXEC);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	g.root = root;
	snprintf(port, sizeof(port), "fd:%d", fd);
	r = guest_init(&g, port);
	if (r == 0)
		r = guest_run(&g);
	guest_done(&g);
	end_processes();
	exit(-r);
}

void host_fork(struct host *h)
{
	int fds[2];

	*h = (struct host){.root = "/tmp/wnodes-guest-test-XXXXXX"};
	assert_non_null(mkdtemp(h->root));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	h->fd = fds[0];
	h->agent = fork();
	assert_true(h->agent >= 0);
	if (h->agent == 0) {
		close(fds[0]);
		agent_run(fds[1], h->root);
	}
	close(fds[1]);
}

void host_say_hello(struct host *h)
{
	struct hello_host hello = {.magic = MESSAGE_MAGIC, .version = MESSAGE_VERSION};

	host_send(h, FRAME_HELLO, 0, 0, hello_host_fields, &hello);
}

void host_start(struct host *h)
{
	struct frame f;

	host_fork(h);
	assert_true(host_recv(h, &f, HOST_WAIT_MS));
	assert_int_equal(f.type, FRAME_HELLO);
	host_say_hello(h);
}

int host_stop(struct host *h)
{
	char command[96];
	int status = 0;

	h->fd = base_close(h->fd);
	for (int i = 0; i < HOST_WAIT_MS / 10; i++) {
		if (waitpid(h->agent, &status, WNOHANG) == h->agent)
			break;
		usleep(10000);
		if (i == HOST_WAIT_MS / 10 - 1)
			kill(h->agent, SIGKILL);
	}
	buffer_done(&h->in);
	snprintf(command, sizeof(command), "rm -rf '%s'", h->root);
	assert_int_equal(system(command), 0);
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -255;
}

void host_write(struct host *h, const void *data, size_t length)
{
	const char *p = data;
	ssize_t n;

	for (; length > 0; p += n, length -= (size_t)n) {
		n = send(h->fd, p, length, MSG_NOSIGNAL);
		/* An agent that has ended is what some tests want. */
		if (n < 0)
			return;
	}
}

void host_send(struct host *h, enum frame_type type, uint32_t id, enum frame_channel channel,
	const struct message_field *fields, const void *message)
{
	struct buffer out AUTO(buffer_done) = {0};

	if (fields)
		assert_int_equal(message_append_frame(&out, type, id, channel, fields, message), 0);
	else
		assert_int_equal(frame_append(&out, type, id, channel, NULL, 0), 0);
	host_write(h, buffer_head(&out), out.len);
}

void host_send_data(struct host *h, uint32_t id, const void *data, size_t length)
{
	struct buffer out AUTO(buffer_done) = {0};

	assert_int_equal(frame_append(&out, FRAME_DATA, id, FRAME_STDIN, data, length), 0);
	host_write(h, buffer_head(&out), out.len);
}

void host_send_credit(struct host *h, uint32_t id, enum frame_channel channel, uint32_t bytes)
{
	struct credit credit = {.bytes = bytes};

	host_send(h, FRAME_CREDIT, id, channel, credit_fields, &credit);
}

bool host_recv(struct host *h, struct frame *ret, int ms)
{
	struct pollfd p = {.fd = h->fd, .events = POLLIN};
	int r;

	buffer_consume(&h->in, h->consume);
	h->consume = 0;
	while ((r = frame_parse(&h->in, FRAME_HOST_ACCEPTS_MAX, ret)) == 0)
		if (poll(&p, 1, ms) <= 0 || buffer_read(&h->in, h->fd, 65536) <= 0)
			return false;
	assert_int_equal(r, 1);
	h->consume = FRAME_HEADER_SIZE + ret->length;
	return true;
}

bool host_is_gone(struct host *h)
{
	struct frame f;
	char byte;

	while (host_recv(h, &f, 2000))
		;
	return recv(h->fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

void host_call(struct host *h, enum frame_type type, const struct message_field *fields,
	const void *message, struct reply *ret)
{
	static uint32_t id = 1000000;
	struct frame f;

	host_send(h, type, ++id, 0, fields, message);
	assert_true(host_recv(h, &f, HOST_WAIT_MS));
	assert_int_equal(f.type, FRAME_REPLY);
	assert_int_equal(f.id, id);
	assert_int_equal(message_decode(reply_fields, f.payload, f.length, ret), 0);
}

struct exec_request host_shell(const char *const argv[4])
{
	return (struct exec_request){
		.argv = (const char **)(uintptr_t)argv,
		.env = (const char **)(uintptr_t)host_env,
		.workdir = "/",
		.uid = geteuid(),
		.gid = getegid(),
		.umask = 022,
	};
}

void host_exec(struct host *h, uint32_t id, const struct exec_request *request)
{
	host_send(h, FRAME_EXEC, id, 0, exec_request_fields, request);
}

static void result_add_data(struct host *h, const struct frame *f, struct result *r)
{
	struct buffer *b = f->channel == FRAME_STDOUT ? &r->out : &r->err;
	size_t granted = b->len / HOST_CREDIT;

	assert_true(f->channel == FRAME_STDOUT || f->channel == FRAME_STDERR);
	assert_int_equal(buffer_append(b, f->payload, f->length), 0);
	granted = b->len / HOST_CREDIT - granted;
	if (granted > 0)
		host_send_credit(h, f->id, f->channel, (uint32_t)granted * HOST_CREDIT);
}

void host_collect(struct host *h, uint32_t id, struct result *ret)
{
	struct frame f;

	while (!ret->ended) {
		assert_true(host_recv(h, &f, HOST_WAIT_MS));
		assert_int_equal(f.id, id);
		if (f.type == FRAME_REPLY) {
			assert_int_equal(
				message_decode(reply_fields, f.payload, f.length, &ret->reply), 0);
			snprintf(ret->reason, sizeof(ret->reason), "%s", ret->reply.reason);
			ret->ended = ret->reply.error != 0;
		} else if (f.type == FRAME_DATA) {
			result_add_data(h, &f, ret);
		} else if (f.type == FRAME_EXIT) {
			assert_int_equal(message_decode(exit_status_fields, f.payload, f.length,
						 &ret->status),
				0);
			ret->ended = true;
		}
	}
	/* So that they can be compared as text. */
	assert_int_equal(buffer_append(&ret->out, "", 1), 0);
	assert_int_equal(buffer_append(&ret->err, "", 1), 0);
}

void result_done(struct result *r)
{
	buffer_done(&r->out);
	buffer_done(&r->err);
}

static bool namespace_map(const char *file, unsigned id)
{
	int fd autoclose = open(file, O_WRONLY | O_CLOEXEC);
	char text[32];
	int n = snprintf(text, sizeof(text), "0 %u 1\n", id);

	return fd >= 0 && write(fd, text, (size_t)n) == n;
}

static bool namespace_enter(void)
{
	unsigned uid = geteuid(), gid = getegid();
	int deny;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) < 0)
		return false;
	deny = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
	if (deny >= 0 && write(deny, "deny", 4) != 4)
		return false;
	base_close(deny);
	return namespace_map("/proc/self/uid_map", uid) &&
	       namespace_map("/proc/self/gid_map", gid) &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

#define NAMESPACE_NONE 77 /* exit status, as test programs use it for "skipped" */

bool host_in_namespace(void (*check)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (!namespace_enter())
			_exit(NAMESPACE_NONE);
		check();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == NAMESPACE_NONE);
	return WEXITSTATUS(status) == 0;
}

void host_run(struct host *h, const char *script, const char *input, struct result *ret)
{
	static uint32_t id;
	const char *const argv[4] = {"sh", "-c", script, NULL};
	struct exec_request request = host_shell(argv);

	*ret = (struct result){0};
	request.flags = input ? EXEC_STDIN : 0;
	host_exec(h, ++id, &request);
	if (input) {
		host_send_data(h, id, input, strlen(input));
		host_send_data(h, id, NULL, 0);
	}
	host_collect(h, id, ret);
}
