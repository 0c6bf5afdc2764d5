/* The descriptors of one turn of the loop. Each concern adds its own before poll(2) and asks for
 * what happened to them after it, by the index that it was given.
 */
#pragma once

#include <limits.h>
#include <poll.h>

#include "lib/base.h"

/* The link, the signals, and what each stream has: status, stdin, stdout, stderr. */
#define STREAMS_MAX 256
#define POLLSET_MAX (2 + 4 * STREAMS_MAX)

struct pollset {
	struct pollfd fds[POLLSET_MAX];
	int count;
	int timeout_ms; /* -1 = none */
};

/* Returns the index, or -1 for a descriptor that is not open. */
static inline int pollset_add(struct pollset *set, int fd, short events)
{
	if (fd < 0 || set->count >= POLLSET_MAX)
		return -1;
	set->fds[set->count] = (struct pollfd){.fd = fd, .events = events};
	return set->count++;
}

static inline bool pollset_has(const struct pollset *set, int index)
{
	return index >= 0 && index < set->count && set->fds[index].revents != 0;
}

/* Lets poll(2) return after `ms` at the latest. */
static inline void pollset_wake(struct pollset *set, int64_t ms)
{
	int wait = ms < 0 ? 0 : (int)MIN_OF(ms, INT_MAX);

	if (set->timeout_ms < 0 || wait < set->timeout_ms)
		set->timeout_ms = wait;
}
