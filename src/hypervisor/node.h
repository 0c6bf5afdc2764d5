/* What the daemon tells about its node. */
#pragma once

#include <jansson.h>

#include "lib/base.h"

struct hypervisor;

/* A new object, without the list of VMs. NULL when out of memory. */
json_t *node_status_to_json(const struct hypervisor *h);

/* The same with the list; of VMs, those of `uid`, to root and administrators all. NULL when out of
 * memory. */
json_t *node_to_json(const struct hypervisor *h, uid_t uid);
