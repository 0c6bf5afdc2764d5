/* The request comes through a pipe as the bytes of its message, behind their number; the process
 * decodes them itself. End of file means that the agent is gone, or needs it no more.
 */
#include "guest/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* Less than a pipe takes at once. */
#define SPARE_REQUEST_MAX 32768

/* Where the process keeps what is not to be closed. */
enum { SPARE_STATUS_FD = 3, SPARE_REQUEST_FD, SPARE_FDS };

static bool spare_read(int fd, void *data, size_t size)
{
	ssize_t n;

	for (size_t done = 0; done < size; done += (size_t)n) {
		n = read(fd, (uint8_t *)data + done, size - done);
		if (n <= 0)
			return false;
	}
	return true;
}

/* The agent's descriptors must not be held by a process that may live longer. */
static bool spare_keep(struct exec *x, int *request_fd)
{
	int status = fcntl(x->status_fd, F_DUPFD_CLOEXEC, SPARE_FDS);
	int request = fcntl(*request_fd, F_DUPFD_CLOEXEC, SPARE_FDS);

	if (dup3(status, SPARE_STATUS_FD, O_CLOEXEC) < 0 ||
		dup3(request, SPARE_REQUEST_FD, O_CLOEXEC) < 0)
		return false;
	*x = (struct exec){.status_fd = SPARE_STATUS_FD, .in = -1, .out = -1, .err = -1};
	*request_fd = SPARE_REQUEST_FD;
	return syscall(SYS_close_range, SPARE_FDS, ~0U, 0) == 0;
}

static void __attribute__((noreturn)) spare_run(struct exec *x, int request_fd)
{
	static uint8_t payload[SPARE_REQUEST_MAX];
	struct exec_request request;
	uint32_t length;
	int r;

	if (exec_settle(x, false) < 0 || !spare_keep(x, &request_fd) ||
		!spare_read(request_fd, &length, sizeof(length)) || length > sizeof(payload) ||
		!spare_read(request_fd, payload, length))
		_exit(0);
	r = message_decode(exec_request_fields, payload, length, &request);
	if (r < 0)
		fail_errno(&x->error, r, "exec");
	else if (!(request.flags & EXEC_STDIN))
		r = exec_close_input(x);
	if (r < 0)
		exec_fail(x);
	exec_run(x, &request);
}

static void spare_reset(struct spare *s)
{
	process_end(&s->process);
	base_close(s->request_fd);
	*s = (struct spare){0};
}

static int spare_fork(struct spare *s, struct exec *x)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	s->process.pid = fork();
	if (s->process.pid == 0) {
		base_close(fds[1]);
		spare_run(x, fds[0]);
	}
	base_close(fds[0]);
	s->request_fd = fds[1];
	/* It reads nothing before it is taken, so a write that would wait is a mistake. */
	return s->process.pid < 0 || fcntl(fds[1], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int spare_start(struct spare *s)
{
	struct exec x = EXEC_NONE;
	int r;

	if (s->process.pid > 0)
		return 0;
	*s = (struct spare){.process = PROCESS_NONE, .request_fd = -1};
	r = process_open(&s->process, &x, true);
	if (r == 0)
		r = spare_fork(s, &x);
	exec_close(&x);
	if (r < 0)
		spare_reset(s);
	return r;
}

static bool spare_fits(const struct frame *f, const struct exec_request *x)
{
	return x->argv[0] && !(x->flags & EXEC_TTY) && f->length <= SPARE_REQUEST_MAX;
}

static bool spare_send(const struct spare *s, const struct frame *f)
{
	const struct iovec parts[] = {
		{(void *)(uintptr_t)&f->length, sizeof(f->length)},
		{(void *)(uintptr_t)f->payload, f->length},
	};

	return writev(s->request_fd, parts, ARRAY_SIZE(parts)) ==
	       (ssize_t)(sizeof(f->length) + f->length);
}

int spare_take(struct spare *s, const struct frame *f, const struct exec_request *request,
	struct process *ret)
{
	if (s->process.pid <= 0)
		return -ESRCH;
	process_own(&s->process, request->uid, request->gid);
	if (!spare_fits(f, request) || !spare_send(s, f)) {
		spare_end(s);
		return -ENOTSUP;
	}
	*ret = s->process;
	if (!(request->flags & EXEC_STDIN))
		ret->in = base_close(ret->in);
	base_close(s->request_fd);
	*s = (struct spare){0};
	return 0;
}

bool spare_on_exit(struct spare *s, pid_t pid)
{
	if (s->process.pid <= 0 || pid != s->process.pid)
		return false;
	s->process.pid = 0;
	spare_reset(s);
	return true;
}

void spare_end(struct spare *s)
{
	if (s->process.pid > 0)
		spare_reset(s);
}
