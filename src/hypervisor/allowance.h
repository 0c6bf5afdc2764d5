/* What each user takes of the daemon itself: connections and requests. */
#pragma once

#include "lib/base.h"

struct allowance {
	uid_t uid;
	uint64_t connections;
	double tokens; /* requests that it may make now */
	uint64_t refilled_us;
	double discards; /* templates that it may have thrown away now */
	uint64_t discards_us;
	struct allowance *next;
};

struct allowances {
	struct allowance *list;
	uint64_t connections_max; /* of each */
	uint64_t requests;        /* a second */
};

/* Counts a connection. Returns its user's allowance, or NULL if it has too many, or out of memory.
 */
struct allowance *allowances_connect(struct allowances *a, uid_t uid);
void allowances_disconnect(struct allowances *a, struct allowance *allowance);

/* May this user make a request now? Counts it if so. Root, who could end us, always may. */
bool allowance_take_request(
	const struct allowances *a, struct allowance *allowance, uint64_t now_us);

/* May this user have a template thrown away? Two at once, and one more every five minutes. */
bool allowance_take_discard(struct allowance *allowance, uint64_t now_us);

void allowances_done(struct allowances *a);
