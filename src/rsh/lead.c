#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "rsh/crew.h"
#include "rsh/relay.h"
#include "rsh/serve.h"

#define EXIT_OURS 125

/* Between SIGTERM and SIGKILL for a command that has lost a VM. */
#define LOST_GRACE_MS 5000

/* Of those who are missing, a line names so many. */
#define MISSING_SHOWN 8

struct member {
	int fd; /* -1: it has gone */
	struct attendance who;
};

struct lead {
	const struct job *job;
	const struct crew_task *task;
	int listener, signals;
	struct member *members;
	size_t count, wanted; /* of members */
	pid_t pid;            /* of the command; 0: it does not run */
	bool lost;            /* a member has gone */
	int64_t deadline_ms;  /* for all to be there; for the command to end once one was lost */
	int code;
};

static size_t count_tasks(const struct job *j)
{
	size_t n = 0;

	for (size_t i = 0; i < j->count; i++)
		n += j->hosts[i].tasks;
	return n;
}

static unsigned int count_present(const struct lead *l, size_t host)
{
	unsigned int n = host == l->task->host;

	for (size_t i = 0; i < l->count; i++)
		n += l->members[i].fd >= 0 && l->members[i].who.host == host;
	return n;
}

static void tell_missing(const struct lead *l)
{
	size_t shown = 0;

	fprintf(stderr, "wnodes: not all VMs of the job came within %d s, so that nothing was run:",
		l->task->wait_s);
	for (size_t i = 0; i < l->job->count; i++) {
		const struct job_host *h = &l->job->hosts[i];
		unsigned int n = count_present(l, i);

		if (n < h->tasks && ++shown <= MISSING_SHOWN)
			fprintf(stderr, " %s on %s (%u of %u tasks)", h->name, h->node, n,
				h->tasks);
	}
	fprintf(stderr,
		"%s; what these nodes say tells why ([deadline] gather is how long to wait)\n",
		shown > MISSING_SHOWN ? " and others" : "");
}

static bool lead_knows(const struct lead *l, const struct attendance *who)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->members[i].who.rank == who->rank && l->members[i].fd >= 0)
			return true;
	return who->rank == l->task->rank || who->host >= l->job->count;
}

static void lead_accept(struct lead *l)
{
	struct attendance who;
	int fd = -1;

	if (serve_connection(l->job, l->listener, &who, &fd) <= 0)
		return;
	if (l->count >= l->wanted || lead_knows(l, &who))
		close(fd);
	else
		l->members[l->count++] = (struct member){fd, who};
}

static void lead_lose(struct lead *l, struct member *m)
{
	const struct job_host *h = &l->job->hosts[m->who.host];

	m->fd = base_close(m->fd);
	if (l->pid == 0) { /* it may come again */
		*m = l->members[--l->count];
		return;
	}
	if (!l->lost)
		fprintf(stderr,
			"wnodes: task %u was lost with its VM, %s on %s; ending the command\n",
			m->who.rank, h->name, h->node);
	if (!l->lost)
		kill(l->pid, SIGTERM);
	l->lost = true;
	l->deadline_ms = relay_now_ms() + LOST_GRACE_MS;
}

static void __attribute__((noreturn)) command_become(char **command)
{
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	relay_reset_signals();
	if (!isatty(STDIN_FILENO))
		setpgid(0, 0);
	execvp(command[0], command);
	r = errno;
	fprintf(stderr, "wnodes: in the VM: cannot run '%s': %s\n", command[0], strerror(r));
	_exit(r == ENOENT ? 127 : 126);
}

static void lead_begin(struct lead *l)
{
	l->deadline_ms = 0;
	l->pid = fork();
	if (l->pid == 0)
		command_become(l->task->command);
}

/* Returns true when the command has ended. */
static bool lead_take_signals(struct lead *l)
{
	int status, code = 0;
	bool ended = false;

	for (int signo; (signo = relay_next(l->signals)) > 0;)
		if (signo != SIGCHLD && l->pid > 0)
			kill(l->pid, signo);
		else if (signo != SIGCHLD && signo != SIGCONT && signo != SIGWINCH)
			code = 128 + signo;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		if (pid == l->pid) {
			l->code = l->lost ? EXIT_OURS : serve_status(status);
			ended = true;
		}
	if (code > 0 && l->pid == 0) {
		l->code = code;
		ended = true;
	}
	return ended;
}

static bool lead_is_late(struct lead *l)
{
	if (l->deadline_ms == 0 || relay_now_ms() < l->deadline_ms)
		return false;
	if (l->pid > 0) {
		kill(l->pid, SIGKILL);
		l->deadline_ms = 0;
		return false;
	}
	tell_missing(l);
	l->code = EXIT_OURS;
	return true;
}

/* Waits for whatever comes next. Returns true at the end. */
static bool lead_turn(struct lead *l, struct pollfd *set)
{
	int wait_ms = l->deadline_ms ? (int)MAX_OF(l->deadline_ms - relay_now_ms(), 0) : -1;
	size_t n = l->count;

	set[0] = (struct pollfd){.fd = l->signals, .events = POLLIN};
	set[1] = (struct pollfd){.fd = l->listener, .events = POLLIN};
	for (size_t i = 0; i < n; i++)
		set[2 + i] = (struct pollfd){.fd = l->members[i].fd, .events = POLLIN};
	if (poll(set, 2 + n, wait_ms) < 0)
		return false;
	if (set[0].revents && lead_take_signals(l))
		return true;
	/* Members say nothing more: what can be read is their end. Backwards, as they move up. */
	for (size_t i = n; i-- > 0;)
		if (set[2 + i].revents)
			lead_lose(l, &l->members[i]);
	if (set[1].revents)
		lead_accept(l);
	if (l->pid == 0 && l->count == l->wanted)
		lead_begin(l);
	return lead_is_late(l);
}

static void lead_tell_end(struct lead *l)
{
	const uint8_t code = (uint8_t)l->code;

	for (size_t i = 0; i < l->count; i++)
		if (l->members[i].fd >= 0)
			link_send(l->members[i].fd, PACKET_EXIT, &code, 1);
}

int crew_lead(const struct job *j, const struct crew_task *t)
{
	size_t tasks = count_tasks(j);
	struct lead l = {
		.job = j, .task = t, .wanted = tasks > 0 ? tasks - 1 : 0, .code = EXIT_OURS};
	struct pollfd *set autofree = calloc(tasks + 2, sizeof(*set));
	struct member *members autofree = calloc(tasks + 1, sizeof(*members));
	struct error err = {0};

	l.members = members;
	l.signals = relay_watch_signals();
	l.listener = t->host < j->count ? link_listen(j->hosts[t->host].address, &err)
					: fail(&err, -EINVAL, "there is no VM number %u", t->host);
	if (!set || !members || l.signals < 0 || l.listener < 0) {
		fprintf(stderr, "wnodes: %s\n", err.code < 0 ? err.text : "out of memory");
		return EXIT_OURS;
	}
	l.deadline_ms = relay_now_ms() + (int64_t)t->wait_s * 1000;
	if (l.wanted == 0)
		lead_begin(&l);
	while (!lead_turn(&l, set))
		;
	lead_tell_end(&l);
	return l.code;
}
