/* Points in time by which something must be done, so that a wait of several steps is bounded as a
 * whole. On CLOCK_MONOTONIC: changes of the date do not matter. */
#pragma once

#include <poll.h>

#include "lib/base.h"

#define DEADLINE_NEVER UINT64_MAX

/* Milliseconds since some fixed point. */
uint64_t deadline_now_ms(void);

/* `timeout_ms` from now; negative: DEADLINE_NEVER. */
uint64_t deadline_in_ms(int timeout_ms);

/* What is left, for poll(2): 0 when passed, -1 for DEADLINE_NEVER. */
int deadline_left_ms(uint64_t deadline);

/* poll(2) that signals do not end. Returns the number of ready descriptors, -ETIMEDOUT, or another
 * negative errno. */
int deadline_poll(struct pollfd *fds, size_t count, uint64_t deadline);
