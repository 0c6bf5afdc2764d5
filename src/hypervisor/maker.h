/* Makes the templates that VMs would have liked to start from: one at a time, by processes of a
 * user without rights, who give way to all others. What they have made is taken over by copying. */
#pragma once

#include <systemd/sd-event.h>

#include "hypervisor/servant.h"
#include "hypervisor/shelf.h"

struct maker;

struct maker_wish {
	uid_t uid;                    /* who is to be counted as its cause */
	char digest[DIGEST_HEX_SIZE]; /* of an image of the machine's store */
	char key[DIGEST_HEX_SIZE];    /* that the template is said to get; "" if not known */
	char accel[8], network[8];
	uint64_t cpus, memory_mib, slots;
	bool scratch;
};

/* Without a `servant` (NULL) no templates are made. */
int maker_new(sd_event *event, const struct settings *settings, struct servant *servant,
	struct shelf *shelf, struct worker *worker, struct maker **ret, struct error *err);
struct maker *maker_free(struct maker *m);
DEFINE_CLEANUP(struct maker *, maker_free)

/* Notes a wish. Returns 0, also for one that is there already, -EDQUOT if this user has had as many
 * as the settings allow, -ENOBUFS if too many wait, or -ENOENT if none are made. */
int maker_wish(struct maker *m, const struct maker_wish *wish);

/* Is a template being made? */
bool maker_is_busy(const struct maker *m);
