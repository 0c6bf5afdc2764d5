/* Pools: host names, MAC and IPv4 addresses of a VLAN, from which VMs get leases. The places of a
 * pool are made with it. */
#pragma once

#include "controller/route.h"

extern const struct listing pool_listing;
extern const struct route pool_routes[];
