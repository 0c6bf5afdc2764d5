/* Regular expressions that come from a configuration file: POSIX extended ones (regex(7)), compiled
 * once, matched against texts that anybody may have written.
 *
 * Two things are refused that would let a short text keep a processor or the memory busy for ever:
 * back references, and repetitions that grow beyond PATTERN_SIZE_MAX when they are written out. */
#pragma once

#include "lib/error.h"

#define PATTERN_SIZE_MAX 4096 /* single-character pieces, with all repetitions written out */
#define PATTERN_TEXT_MAX 1024 /* bytes of a text that are looked at */

struct pattern;

/* Compiles `text`. Returns 0, -ENOMEM, or -EINVAL with the reason. */
int pattern_new(const char *text, struct pattern **ret, struct error *err);
struct pattern *pattern_free(struct pattern *p);
DEFINE_CLEANUP(struct pattern *, pattern_free)

/* As it was written. */
const char *pattern_text(const struct pattern *p);

/* Does it match anywhere in `text`? ^ and $ hold it to the ends; what is longer than
 * PATTERN_TEXT_MAX is cut there. */
bool pattern_matches(const struct pattern *p, const char *text);
