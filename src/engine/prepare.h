/* What the agent does before the command can run: clock, identity, network, mounts, account. All
 * calls go out at once and the agent works through them in order, so that a VM is prepared in one
 * round trip. */
#pragma once

#include "engine/local.h"
#include "vm/agent.h"

struct prepare;

/* `error` NULL: done. Else which step failed and why. Called once, from the agent's callbacks. */
typedef void (*prepare_fn)(const char *error, void *userdata);

/* Where the scratch disk is seen in the guest. */
#define PREPARE_SCRATCH "/scratch"

/* `request`, `hostname` and `mac` are needed only during the call. Returns 0 or -errno. */
int prepare_start(struct agent *agent, const struct request *request, const char *hostname,
	const char *mac, prepare_fn done, void *userdata, struct prepare **ret);
struct prepare *prepare_free(struct prepare *p);
DEFINE_CLEANUP(struct prepare *, prepare_free)
