/* Which VMs the site knows of, so that a heartbeat says only what has changed since the last one
 * that was answered. */
#pragma once

#include <jansson.h>

#include "lib/base.h"

/* Of VMs that come or change, and of those that go, in one heartbeat; the next has the rest. With
 * texts as long as they may be, and all leases, it stays below the megabyte that a controller
 * takes.
 */
#define DELTA_MAX 1000

struct delta;

struct delta *delta_new(void);
struct delta *delta_free(struct delta *d);
DEFINE_CLEANUP(struct delta *, delta_free)

/* `vms` are all that there are, objects with an "id". *ret_vms are those that are new or changed
 * (`full`: of all), *ret_gone the ids of those that have ended; both new, NULL when out of memory.
 */
void delta_make(struct delta *d, json_t *vms, bool full, json_t **ret_vms, json_t **ret_gone);

/* What delta_make() has made was answered. What was refused of it is not said again until it
 * changes. */
void delta_commit(struct delta *d);

/* Is there more than fitted? */
bool delta_has_more(const struct delta *d);
