#include "engine/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#include "lib/exit.h"
#include "lib/parse.h"

/* Before we stop ourselves, the command must have been told to. */
#define STOP_DELAY_US 50000

static const int watched_signals[] = {
	SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP, SIGWINCH};

struct interrupt {
	sd_event *event;
	sd_event_source *signals[ARRAY_SIZE(watched_signals)];
	sd_event_source *timeout_timer, *grace_timer, *stop_timer, *terminal;
	int terminal_fd;
	uint64_t grace_us;
	int grace_signal;              /* that began the grace */
	bool running, timed_out, told; /* told: the command got SIGTERM */
	bool has_terminal, hung_up;    /* the command's terminal stands for ours */
	struct interrupt_callbacks callbacks;
	void *userdata;
};

static int on_grace(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct interrupt *i = userdata;
	char why[100], grace[FORMAT_MAX];

	snprintf(why, sizeof(why), "the command did not end within %s of %s",
		format_duration(i->grace_us, grace),
		i->grace_signal == SIGHUP ? "the end of its terminal" : "SIGTERM");
	i->callbacks.on_end(i->timed_out ? EXIT_TIMEOUT : 128 + i->grace_signal, why, i->userdata);
	return 0;
}

static void interrupt_begin_grace(struct interrupt *i, int signo)
{
	if (i->grace_timer || i->grace_us == 0)
		return;
	i->grace_signal = signo;
	sd_event_add_time_relative(
		i->event, &i->grace_timer, CLOCK_MONOTONIC, i->grace_us, 0, on_grace, i);
}

/* SIGTERM to the command; the second one, or the grace, ends the VM. */
static void interrupt_terminate(struct interrupt *i, bool group)
{
	if (i->told && i->grace_us > 0) {
		i->callbacks.on_end(128 + SIGTERM, "a second SIGTERM", i->userdata);
		return;
	}
	i->told = true;
	i->callbacks.on_forward(SIGTERM, group, i->userdata);
	interrupt_begin_grace(i, SIGTERM);
}

/* What the kernel does to the session of a terminal that is gone: its leader, which is the command,
 * and whoever has the terminal learn of it, even if they are stopped. Nobody can speak to them any
 * more, so what stays regardless ends after the grace. */
static void interrupt_hang_up(struct interrupt *i)
{
	static const int signals[] = {SIGHUP, SIGCONT};

	i->terminal = sd_event_source_disable_unref(i->terminal);
	if (i->hung_up)
		return;
	i->hung_up = true;
	for (size_t n = 0; n < ARRAY_SIZE(signals); n++) {
		i->callbacks.on_forward(signals[n], false, i->userdata);
		i->callbacks.on_forward(signals[n], true, i->userdata);
	}
	interrupt_begin_grace(i, SIGHUP);
}

static int on_terminal(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	interrupt_hang_up(userdata);
	return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct interrupt *i = userdata;

	i->timed_out = true;
	if (!i->told)
		interrupt_terminate(i, true);
	return 0;
}

static int on_stop(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct interrupt *i = userdata;

	i->stop_timer = sd_event_source_disable_unref(i->stop_timer);
	raise(SIGSTOP);
	return 0;
}

/* Ctrl-Z stops us as well, so that the shell gets its terminal back. */
static void interrupt_stop_self(struct interrupt *i)
{
	if (!i->stop_timer)
		sd_event_add_time_relative(
			i->event, &i->stop_timer, CLOCK_MONOTONIC, STOP_DELAY_US, 0, on_stop, i);
}

static void interrupt_cancel(struct interrupt *i, int signo, bool from_terminal)
{
	if (signo == SIGTSTP && from_terminal)
		interrupt_stop_self(i);
	if (signo == SIGTERM || signo == SIGINT || signo == SIGHUP || signo == SIGQUIT)
		i->callbacks.on_end(128 + signo, NULL, i->userdata);
}

static int interrupt_on_signal(
	sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct interrupt *i = userdata;
	int signo = (int)info->ssi_signo;
	bool from_terminal = info->ssi_code == SI_KERNEL;

	if (signo == SIGWINCH)
		i->callbacks.on_resize(i->userdata);
	else if (!i->running)
		interrupt_cancel(i, signo, from_terminal);
	else if (signo == SIGTERM)
		interrupt_terminate(i, from_terminal);
	else if (signo == SIGHUP && i->has_terminal)
		interrupt_hang_up(i);
	else
		i->callbacks.on_forward(signo, from_terminal, i->userdata);
	if (signo == SIGTSTP && i->running && from_terminal)
		interrupt_stop_self(i);
	return 0;
}

/* nohup(1) says so. A blocked signal would come although it is ignored. */
static bool signal_is_unwanted(int signo)
{
	struct sigaction action;

	return signo == SIGHUP && sigaction(signo, NULL, &action) == 0 &&
	       action.sa_handler == SIG_IGN;
}

static int interrupt_watch(struct interrupt *i)
{
	sigset_t set;
	int r = 0;

	sigemptyset(&set);
	for (size_t n = 0; n < ARRAY_SIZE(watched_signals); n++)
		if (!signal_is_unwanted(watched_signals[n]))
			sigaddset(&set, watched_signals[n]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	/* A reader that went away is an error of write(2), not a reason to die. */
	signal(SIGPIPE, SIG_IGN);
	/* Reading the terminal from the background fails instead of stopping us with our VM. */
	signal(SIGTTIN, SIG_IGN);
	for (size_t n = 0; n < ARRAY_SIZE(watched_signals) && r >= 0; n++)
		if (sigismember(&set, watched_signals[n]))
			r = sd_event_add_signal(i->event, &i->signals[n], watched_signals[n],
				interrupt_on_signal, i);
	return r;
}

int interrupt_open(sd_event *event, uint64_t grace_us, const struct interrupt_callbacks *callbacks,
	void *userdata, struct interrupt **ret)
{
	struct interrupt *i AUTO(interrupt_freep) = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return -ENOMEM;
	i->event = sd_event_ref(event);
	i->grace_us = grace_us;
	i->callbacks = *callbacks;
	i->userdata = userdata;
	i->terminal_fd = -1;
	r = interrupt_watch(i);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(i);
	return 0;
}

struct interrupt *interrupt_free(struct interrupt *i)
{
	if (!i)
		return NULL;
	for (size_t n = 0; n < ARRAY_SIZE(watched_signals); n++)
		sd_event_source_disable_unref(i->signals[n]);
	sd_event_source_disable_unref(i->timeout_timer);
	sd_event_source_disable_unref(i->grace_timer);
	sd_event_source_disable_unref(i->stop_timer);
	sd_event_source_disable_unref(i->terminal);
	base_close(i->terminal_fd);
	sd_event_unref(i->event);
	free(i);
	return NULL;
}

void interrupt_set_running(struct interrupt *i, uint64_t timeout_us)
{
	i->running = true;
	if (timeout_us > 0)
		sd_event_add_time_relative(
			i->event, &i->timeout_timer, CLOCK_MONOTONIC, timeout_us, 0, on_timeout, i);
}

void interrupt_set_terminal(struct interrupt *i, int fd)
{
	i->has_terminal = true;
	/* A descriptor of our own: epoll takes each only once. */
	if (i->terminal_fd < 0 && isatty(fd))
		i->terminal_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	/* Not every process whose terminal goes away gets SIGHUP. */
	if (i->terminal_fd >= 0 && !i->terminal)
		sd_event_add_io(i->event, &i->terminal, i->terminal_fd, EPOLLHUP, on_terminal, i);
}

bool interrupt_timed_out(const struct interrupt *i)
{
	return i->timed_out;
}
