/* Has the daemon's block of leases filled, and gives back what it does not need. */
#pragma once

#include "engine/daemon.h"
#include "site/site.h"

/* `names` is of account_name(). Returns 1 if there may be more to do, 0 if that was all, -ENOTCONN
 * if no controller answers, or another negative errno. */
int leasing_run(struct daemon *daemon, struct site *site, json_t *names, struct error *err);
