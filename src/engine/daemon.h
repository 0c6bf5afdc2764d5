/* The node's daemon, as the courier and the porter see it: a socket to which they put one question
 * at a time. The questions stand in hypervisor/liaison.h and docs/distribution.md. */
#pragma once

#include <jansson.h>

#include "engine/packet.h"
#include "lib/error.h"

#define DAEMON_FDS_MAX PACKET_FDS_MAX

struct daemon {
	int fd;
	bool changed; /* it has something new to tell */
	bool volumes; /* the same, of volumes */
};

/* An answer, and the descriptors that it names. */
struct daemon_answer {
	json_t *json;
	int fds[DAEMON_FDS_MAX];
	size_t count;
};

/* Takes `question`. Returns 0, -EREMOTEIO if it is refused, or another negative errno: the daemon
 * has ended, and so do we. */
int daemon_ask(struct daemon *d, json_t *question, struct daemon_answer *ret, struct error *err);
/* The same with a descriptor (borrowed) beside the question, for what is too long for a packet. */
int daemon_ask_file(
	struct daemon *d, json_t *question, int fd, struct daemon_answer *ret, struct error *err);
void daemon_answer_done(struct daemon_answer *a);

/* Takes the descriptor that the answer has under this name; -1: none. */
int daemon_answer_take(struct daemon_answer *a, const char *name);

/* Takes what it has said unasked, without waiting. Returns 0 or negative errno, -ECONNRESET at the
 * daemon's end. */
int daemon_hear(struct daemon *d);

/* Waits until `deadline_us` (clock_now_us()) or until something has changed, or
 * there is something to tell of volumes. Returns 0 or negative
 * errno, -ECONNRESET at the daemon's end. */
int daemon_wait(struct daemon *d, uint64_t deadline_us);
