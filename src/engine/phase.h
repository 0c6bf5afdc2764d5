/* Phases: where a VM is on its way from a request to its end, how long it may stay there, and how
 * long it did. */
#pragma once

#include <jansson.h>

#include "lib/base.h"

enum phase {
	PHASE_QUEUED,  /* accepted, nothing done yet */
	PHASE_FETCH,   /* image and disks are made ready */
	PHASE_CLONE,   /* QEMU started from a template; until the agent's hello */
	PHASE_BOOT,    /* the same, but the guest boots */
	PHASE_PREPARE, /* account, shares, network, ... */
	PHASE_RUN,     /* the command */
	PHASE_STOP,    /* flush, power off */
	PHASE_DONE,
	PHASE_FAILED,
	PHASE_COUNT
};

/* When each phase began and how long it took, in microseconds of CLOCK_BOOTTIME. */
struct phase_clock {
	enum phase now;
	uint64_t origin;             /* when the request was accepted */
	uint64_t began[PHASE_COUNT]; /* since origin; valid for phases that were entered */
	uint64_t took[PHASE_COUNT];
	bool entered[PHASE_COUNT];
};

const char *phase_name(enum phase phase);

/* Returns 0, or -EINVAL for what is no phase's name. */
int phase_parse(const char *name, enum phase *ret);

void phase_start(struct phase_clock *c);

/* Ends the phase that is now and begins `next`. Entering a phase again adds to its time. */
void phase_enter(struct phase_clock *c, enum phase next);

/* Time since the phase that is now began, and since the origin. */
uint64_t phase_elapsed_us(const struct phase_clock *c);
uint64_t phase_total_us(const struct phase_clock *c);

/* [{"phase":"boot","start_s":0.012,"duration_s":1.9}, ...] in the order of the phases. */
json_t *phase_to_json(const struct phase_clock *c);
