#include "rsh/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/wire.h"
#include "rsh/relay.h"

/* What a command has started may hold its output open for ever. */
#define IDLE_MS 200

/* Between the loss of who asked for it and the command's end. */
#define GRACE_MS 2000

#define FALLBACK_SHELL "/bin/sh"

struct served {
	int fd;                 /* to the other end */
	int in, out, err, exit; /* pipes of the command; `exit` is readable when it has ended */
	pid_t pid;
	struct packet input; /* being written; `done` bytes are */
	size_t done;
	bool lost; /* the other end has gone */
};

int serve_status(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

static void __attribute__((noreturn)) command_run(const char *command, int in, int out, int err)
{
	const char *shell = getenv("SHELL");

	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	relay_reset_signals();
	setpgid(0, 0);
	if (shell && access(shell, X_OK) == 0)
		execl(shell, shell, "-c", command, (char *)NULL);
	execl(FALLBACK_SHELL, FALLBACK_SHELL, "-c", command, (char *)NULL);
	_exit(127);
}

/* A process that waits would miss what comes by other ways: the end of the command is the end of a
 * pipe that nobody else has. */
static int command_start(struct served *s, const char *command)
{
	int in[2], out[2], err[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		return -errno;
	s->exit = relay_watch_children();
	s->pid = fork();
	if (s->pid == 0)
		command_run(command, in[0], out[1], err[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	s->in = in[1];
	s->out = out[0];
	s->err = err[0];
	fcntl(s->in, F_SETFL, O_NONBLOCK);
	return s->pid < 0 || s->exit < 0 ? -errno : 0;
}

static void served_signal(const struct served *s, int signo)
{
	if (s->pid > 0 && signo > 0 && signo <= SIGRTMAX)
		kill(-s->pid, signo);
}

/* Moves one piece of output. */
static void served_give(struct served *s, int *fd, enum packet_type type)
{
	uint8_t data[16384];
	ssize_t n = read(*fd, data, sizeof(data));

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		*fd = base_close(*fd);
		return;
	}
	if (!s->lost && link_send(s->fd, type, data, (size_t)n) < 0)
		s->lost = true;
}

static void served_drop_input(struct served *s)
{
	free(TAKE_PTR(s->input.data));
	s->done = 0;
}

/* Input that the command does not read holds up what comes behind it. */
static void served_put(struct served *s)
{
	ssize_t n = write(s->in, s->input.data + s->done, s->input.length - s->done);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		s->in = base_close(s->in);
	s->done += n < 0 ? s->input.length : (size_t)n;
	if (s->in < 0 || s->done == s->input.length)
		served_drop_input(s);
}

static void served_take(struct served *s)
{
	struct packet p;

	if (link_recv(s->fd, &p) <= 0) {
		s->lost = true;
		return;
	}
	if (p.type == PACKET_SIGNAL && p.length == 1)
		served_signal(s, p.data[0]);
	if (p.type == PACKET_INPUT && p.length == 0)
		s->in = base_close(s->in);
	if (p.type == PACKET_INPUT && p.length > 0 && s->in >= 0)
		s->input = p;
	else
		free(p.data);
}

/* One turn, of at most `wait_ms`. Returns what poll(2) does. */
static int served_turn(struct served *s, int wait_ms)
{
	struct pollfd set[] = {
		{.fd = s->out, .events = POLLIN},
		{.fd = s->err, .events = POLLIN},
		{.fd = s->input.data ? s->in : -1, .events = POLLOUT},
		{.fd = s->input.data || s->lost ? -1 : s->fd, .events = POLLIN},
		{.fd = s->pid > 0 ? s->exit : -1, .events = POLLIN},
	};
	int n = poll(set, ARRAY_SIZE(set), wait_ms);

	if (n <= 0)
		return n;
	if (set[0].revents)
		served_give(s, &s->out, PACKET_OUTPUT);
	if (set[1].revents)
		served_give(s, &s->err, PACKET_ERRORS);
	if (set[2].revents)
		served_put(s);
	if (set[3].revents)
		served_take(s);
	return n;
}

/* Until the command has ended. Returns its wait status. */
static int served_wait(struct served *s)
{
	int status = 0, wait_ms = -1;
	bool told = false;

	for (;;) {
		int n = served_turn(s, wait_ms);

		if (waitpid(s->pid, &status, WNOHANG) == s->pid)
			return status;
		relay_drain(s->exit);
		if (s->lost && !told) {
			served_signal(s, SIGHUP);
			served_signal(s, SIGTERM);
			wait_ms = GRACE_MS;
		} else if (s->lost && n == 0) {
			served_signal(s, SIGKILL);
		}
		told = s->lost;
	}
}

int serve_command(int fd, const char *command)
{
	struct served s = {.fd = fd, .in = -1, .out = -1, .err = -1, .exit = -1};
	uint8_t code = 126;
	int r = command_start(&s, command);

	if (r == 0) {
		code = (uint8_t)serve_status(served_wait(&s));
		s.pid = 0;
		while ((s.out >= 0 || s.err >= 0) && served_turn(&s, IDLE_MS) > 0)
			;
	}
	if (!s.lost)
		link_send(fd, PACKET_EXIT, &code, 1);
	shutdown(fd, SHUT_WR);
	return code;
}

/* A child of a child, so that it is not among those that we wait for. */
static int serve_fork(int fd, const char *command)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGHUP);
		setsid();
		relay_reset_signals();
		_exit(serve_command(fd, command));
	}
	return pid < 0 ? -errno : 0;
}

int serve_connection(const struct job *j, int listener, struct attendance *ret, int *ret_fd)
{
	int fd autoclose = link_accept(j, listener);
	struct packet p = {.data = NULL};
	int r = fd < 0 ? fd : link_recv(fd, &p);

	if (r <= 0)
		return r < 0 ? r : -ECONNRESET;
	link_settle(fd);
	if (p.type == PACKET_COMMAND) {
		r = serve_fork(fd, (const char *)p.data);
	} else if (p.type == PACKET_ATTEND && p.length == 8) {
		*ret = (struct attendance){le32_load(p.data), le32_load(p.data + 4)};
		*ret_fd = TAKE_FD(fd);
		r = 1;
	} else {
		r = -EPROTO;
	}
	free(p.data);
	return r;
}
