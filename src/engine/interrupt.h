/* What may cut a run short: signals to us, the end of our terminal, the user's time limit, and the
 * grace that a command gets after SIGTERM. While the command runs, signals are passed on to it;
 * before, they cancel.
 *
 * SIGHUP is a signal like others for a command without a terminal, which may handle it and go on.
 * Where the command has a terminal in our terminal's place, SIGHUP, and our terminal's end without
 * it, hang that terminal up, and begin the grace. A SIGHUP that is ignored when we start (nohup) is
 * left ignored. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/error.h"

struct interrupt;

struct interrupt_callbacks {
	/* Give this signal to the command: to its process, or (it came from the terminal) to its
	 * whole process group. */
	void (*on_forward)(int signo, bool group, void *userdata);
	/* The terminal has another size. */
	void (*on_resize)(void *userdata);
	/* End now, with this exit status; `why` is for a person. */
	void (*on_end)(int exit_code, const char *why, void *userdata);
};

/* Blocks and watches the signals. `grace_us` 0: whoever sends SIGTERM has a grace of his own, as a
 * batch system has, so it is passed on each time and nothing follows. Returns 0 or negative errno.
 */
int interrupt_open(sd_event *event, uint64_t grace_us, const struct interrupt_callbacks *callbacks,
	void *userdata, struct interrupt **ret);
struct interrupt *interrupt_free(struct interrupt *i);
DEFINE_CLEANUP(struct interrupt *, interrupt_free)

/* From now on signals are forwarded, and the time limit (0: none) runs. */
void interrupt_set_running(struct interrupt *i, uint64_t timeout_us);

/* The command has a terminal of its own, for which `fd` is ours if it is one. */
void interrupt_set_terminal(struct interrupt *i, int fd);

/* Has the command's time run out? */
bool interrupt_timed_out(const struct interrupt *i);
