/* What may cut a run short: signals to us, the user's time limit, and the grace that a command gets
 * after SIGTERM. While the command runs, signals are passed on to it; before, they cancel. */
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

/* Blocks and watches the signals. Returns 0 or negative errno. */
int interrupt_open(sd_event *event, uint64_t grace_us, const struct interrupt_callbacks *callbacks,
	void *userdata, struct interrupt **ret);
struct interrupt *interrupt_free(struct interrupt *i);
DEFINE_CLEANUP(struct interrupt *, interrupt_free)

/* From now on signals are forwarded, and the time limit (0: none) runs. */
void interrupt_set_running(struct interrupt *i, uint64_t timeout_us);

/* Has the command's time run out? */
bool interrupt_timed_out(const struct interrupt *i);
