/* Sums of usage records: how many VMs there were, how long, and what they used. */
#pragma once

#include "controller/route.h"

extern const struct route_query record_summary_queries[];
int record_summary_run(struct exchange *x, struct sql *db);

/* A time of the query. Returns false if it is not there, or no time. */
bool record_get_time(const struct exchange *x, const char *name, uint64_t *ret_us);
