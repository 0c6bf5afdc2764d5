/* A helper of the daemon: a program without rights that speaks with others for it, as
 * wnodes-courier and wnodes-porter do. Its standard input is a socket to us with packets as in
 * engine/packet.h: it asks one question at a time, and is answered. One that ends is started again:
 * after a pause that grows, unless it has lived for a while, or was ended by us. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "lib/error.h"

struct hypervisor;
struct envoy;

struct envoy_calls {
	/* It asks. `fd` came with it (-1: none) and is closed afterwards. */
	void (*packet)(void *userdata, json_t *question, int fd);
	/* It has ended: what was asked or told is for nobody. */
	void (*gone)(void *userdata);
	/* It cannot be started, or ends again and again. May be NULL. */
	void (*failing)(void *userdata, const char *why);
};

/* `program` is one of ours, by its name; `purpose` completes "...: CAUSE" when it cannot be
 * started; both stay the caller's. It is not started before it is wanted. Returns 0 or negative
 * errno. */
int envoy_new(struct hypervisor *h, const char *program, const char *purpose,
	const struct envoy_calls *calls, void *userdata, struct envoy **ret, struct error *err);

/* Kills it, and does not wait for more than its end. */
struct envoy *envoy_free(struct envoy *e);
DEFINE_CLEANUP(struct envoy *, envoy_free)

/* Is it to run from now on? One that is not is ended. */
void envoy_want(struct envoy *e, bool wanted);

/* Settings or keys have changed: it is ended, and the next one begins at once. */
void envoy_renew(struct envoy *e);

bool envoy_is_running(const struct envoy *e);

/* Tells it something unasked; `packet` is taken, NULL is passed over. Returns true if it is told.
 */
bool envoy_tell(struct envoy *e, json_t *packet);

/* Answers its question; `answer` is taken (NULL: no memory). One who does not read is ended. */
void envoy_answer(struct envoy *e, json_t *answer, const int *fds, size_t count);

/* Nothing else of it is heard until an answer is there, so that answers come in order. Returns what
 * names the one that asks, for envoy_resume. */
uint64_t envoy_pause(struct envoy *e);

/* It is heard again. False: who asked is gone, and there is nobody to be answered. */
bool envoy_resume(struct envoy *e, uint64_t who);
