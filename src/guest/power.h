/* SHUTDOWN, and the end of the VM. */
#pragma once

#include "lib/base.h"

struct guest;
struct pollset;

enum power_state {
	POWER_ON,
	POWER_TERM,  /* processes have got SIGTERM */
	POWER_KILL,  /* and then SIGKILL */
	POWER_DRAIN, /* all have ended; their output is being sent */
	POWER_REPLY, /* the answer is being sent, then the power goes off */
};

struct power {
	enum power_state state;
	uint32_t id; /* of the call */
	bool off;    /* power off at the end */
	int64_t deadline;
};

/* Moves on; called on each turn of the loop. Returns 0 or negative errno. */
int power_tick(struct guest *g, int64_t now);
void power_poll(const struct guest *g, struct pollset *set);

/* Are there children, ours or those that others left to us? */
bool power_has_processes(void);

/* Ends the VM at once, without flushing anything. In tests it only ends the loop. */
void power_off(struct guest *g);

/* For failures before there is a context. */
void power_off_now(void) __attribute__((noreturn));
