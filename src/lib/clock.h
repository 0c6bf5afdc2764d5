/* The clock that durations are measured by: it never jumps, and goes on while the host sleeps. */
#pragma once

#include "lib/base.h"

/* Microseconds since the host booted (CLOCK_BOOTTIME). */
uint64_t clock_now_us(void);
