/* Volumes: tells the controllers what the daemon has done and what its VMs want, and brings it what
 * is to be done. */
#pragma once

#include "engine/daemon.h"
#include "site/site.h"

struct volume_watch {
	uint64_t due_us; /* clock_now_us(); UINT64_MAX: nothing is waited for */
	uint64_t retry_us;
	bool missing; /* the controller knows nothing of volumes, which was said */
};

/* `names` is of account_name(), `node` what the site knows us as. What is not answered is for the
 * next time. Returns 0, or negative errno at the daemon's end. */
int volume_watch_run(struct volume_watch *w, struct daemon *daemon, struct site *site,
	json_t *names, const char *node, struct error *err);
