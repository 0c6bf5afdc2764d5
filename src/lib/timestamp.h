/* Points in time as text: RFC 3339, UTC, with microseconds: "2026-11-21T17:51:00.250000Z". */
#pragma once

#include "lib/base.h"

#define TIMESTAMP_TEXT_SIZE 32

/* Microseconds since the epoch, by the host's clock of the day. */
uint64_t timestamp_now_us(void);

/* Returns `text`. Years above 9999 are written as its last moment. */
const char *timestamp_format(uint64_t us, char text[TIMESTAMP_TEXT_SIZE]);

/* Reads what timestamp_format() writes; fewer digits or none behind the seconds will do. Returns 0
 * or -EINVAL (also for times before 1970 and days that a month does not have). */
int timestamp_parse(const char *text, uint64_t *ret_us);
