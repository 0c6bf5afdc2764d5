/* What people see of a fetch: a line on the terminal that changes, and in the end what has come. */
#pragma once

#include "fetch/errand.h"

/* With `verbose`, a line for each step instead. */
void report_start(bool verbose);
void report_stop(void);

/* Callbacks of a fetch_request. */
void report_step(const char *what, void *userdata);
void report_progress(const struct fetch_progress *progress, void *userdata);

/* Prints the end, as text or JSON. Returns 0 or -ENOMEM. */
int report_result(const struct errand *e, const struct fetch_result *result, uint64_t took_us);
