/* An errand: a shell script that root of a VM of its own runs, without anything of the host: to
 * look at an image, or to change its next version's disk. */
#pragma once

#include "engine/request.h"

struct errand {
	const char *image; /* for messages */
	const struct settings *settings;
	const struct request_parts *parts;
	struct request_streams streams;
	const char *script;
	const char *const *env; /* beside PATH, HOME and the like; may be NULL */
	enum vm_network network;
	uint64_t timeout_us;
};

/* Runs it to its end. Returns the script's exit status (128 + N for signal N, 124 where its time
 * ran out), or negative errno; why a VM did not start or ended has been printed then. */
int errand_run(const struct errand *errand, struct error *err);
