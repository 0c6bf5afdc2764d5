/* What has been seen and must not come again: remembered for a time, and for no longer than twice
 * that. For several threads. */
#pragma once

#include "lib/base.h"

#define REPLAY_KEY_SIZE 16
#define REPLAY_MAX      (1U << 20) /* keys within the time; 32 MiB */

struct replay;

/* NULL when out of memory. */
struct replay *replay_new(uint64_t keep_us);
struct replay *replay_free(struct replay *r);
DEFINE_CLEANUP(struct replay *, replay_free)

/* Notes a key, which is part of a good digest. Returns 0, -EEXIST if it has been seen, -ENOSPC if
 * too many have come lately, or -ENOMEM. */
int replay_add(struct replay *r, const uint8_t key[REPLAY_KEY_SIZE], uint64_t now_us);
