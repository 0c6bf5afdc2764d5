/* Values that people write: sizes, durations, numbers. */
#pragma once

#include "lib/error.h"

/* "512M", "2G", "1.5G", "4096" (bytes); suffixes K M G T, powers of 1024, with or without "iB"/"B".
 * Returns 0 or -EINVAL. */
int parse_size(const char *text, uint64_t *ret_bytes, struct error *err);

/* "10s", "5m", "1h30m", "500ms", "90" (seconds). Returns 0 or -EINVAL. */
int parse_duration(const char *text, uint64_t *ret_us, struct error *err);

/* A decimal number within [min, max]. Returns 0 or -EINVAL. */
int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct error *err);

/* "yes", "no", "true", "false", "on", "off", "1", "0". Returns 0 or -EINVAL. */
int parse_bool(const char *text, bool *ret, struct error *err);

/* One of the words in "a|b|c". Returns 0 or -EINVAL. */
int parse_choice(const char *text, const char *choices, struct error *err);

enum parse_kind { PARSE_NUMBER, PARSE_SIZE, PARSE_DURATION };

/* One of the above within [min, max] in its unit (bytes, microseconds); 0, 0: any. Returns 0 or
 * -EINVAL. */
int parse_quantity(enum parse_kind kind, const char *text, uint64_t min, uint64_t max,
	uint64_t *ret, struct error *err);

#define FORMAT_MAX 32

/* "1.5 GiB", "343 MiB", "17 B". Returns `text`. */
const char *format_size(uint64_t bytes, char text[FORMAT_MAX]);

/* "0.08 s", "12.3 s", "3m05s", "2h10m". Returns `text`. */
const char *format_duration(uint64_t us, char text[FORMAT_MAX]);
