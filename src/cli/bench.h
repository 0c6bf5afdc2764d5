/* wnodes bench. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "cli/verb.h"

extern const struct verb verb_bench;

/* Prints a report of bench/outcome.h: what it was measured on, a table for each trial, and what was
 * not measured. Returns 0 or -ENOMEM. */
int bench_print(json_t *report, FILE *out);
