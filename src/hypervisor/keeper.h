/* A process beside the daemon that keeps rights which the daemon gives up before it hears anybody.
 * It hears the daemon alone, does one thing after the other, and ends with the daemon.
 *
 * Questions and answers are packets as in engine/packet.h, in the same order: {"op","name",...},
 * and a descriptor where one belongs to it. What fails is answered with "error":"..." beside "op"
 * and "name", and with "full":true where there is no room. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

struct keeper_call {
	json_t *question, *answer; /* the latter has "op" and "name" */
	const char *name;          /* "": none; else what the keeper holds for a name */
	int fd;                    /* came with the question; -1: none */
	int *ret_fd;               /* goes with the answer, and is closed */
};

struct keeper_op {
	const char *op;
	int (*run)(void *userdata, const struct keeper_call *c, struct error *err);
	bool named;
};

struct keeper_spec {
	const char
		*name; /* by which a process list tells it from the daemon: at most 15 characters */
	/* In the new process: drops all rights that it does not need. `lock`, which may be NULL, is
	 * a file of its own: one that was killed in the middle has it until it is done. */
	int (*open)(void *userdata, struct error *err);
	const char *lock;
	bool (*name_is_valid)(const char *name);
	const struct keeper_op *ops; /* ended by a row without a name */
	void *userdata;
};

/* Starts it, of a copy of all that there is. Returns the daemon's end of the connection, which does
 * not block, or negative errno. */
int keeper_start(const struct keeper_spec *spec, struct error *err);

/* "" and 0 where there is none. */
const char *keeper_text(const struct keeper_call *c, const char *key);
uint64_t keeper_number(const struct keeper_call *c, const char *key);
bool keeper_is_set(const struct keeper_call *c, const char *key);
