/* Numbers about the controller and its site, as Prometheus reads them
 * (https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4). */
#pragma once

#include "controller/route.h"

struct metrics;

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *m);
DEFINE_CLEANUP(struct metrics *, metrics_free)

/* A request has been answered. From any thread. */
void metrics_count(struct metrics *m, const struct exchange *x, uint64_t duration_us);

/* All of it as text for free(), or NULL when out of memory. Of the database, at most some seconds
 * old; `db` NULL: what was known last. */
char *metrics_format(struct metrics *m, const struct controller *c, struct sql *db);

extern const struct route metrics_routes[];
