/* The node's images, all of it: what VMs may start from, what is fetched, what is kept. */
#pragma once

#include <jansson.h>

#include "hypervisor/hypervisor.h"

/* Returns 0 or negative errno. */
int images_open(struct hypervisor *h, struct error *err);

/* In two steps: workers first, whose last jobs belong to others; the rest when nobody waits any
 * more.
 */
void images_stop(struct hypervisor *h);
void images_close(struct hypervisor *h);

/* A new object for `wnodes node show`; NULL without a site. `all`: of all users. */
json_t *images_to_json(const struct hypervisor *h, uid_t uid, bool all);
