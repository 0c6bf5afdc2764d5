/* What a list means for the store: which images are new, have changed, or must go. Decides, and
 * does nothing. */
#pragma once

#include "imagelist/list.h"
#include "imagelist/subscription.h"

enum plan_action {
	PLAN_KEEP,   /* it is there already */
	PLAN_NEW,    /* to be downloaded */
	PLAN_CHANGE, /* to be downloaded, in the place of an older one */
	PLAN_REMOVE, /* it is endorsed no more: its tag is taken away */
	PLAN_EXPIRE, /* its time is over: the same */
	PLAN_SKIP,   /* in the list, and of no use here */
};

struct plan_item {
	enum plan_action action;
	const struct imagelist_image *image; /* in the list; NULL: in none */
	char *identifier, *title;
	char *reference; /* NAME:TAG; NULL for PLAN_SKIP */
	char *reason;    /* for the last three */
};

struct plan {
	struct plan_item *items;
	size_t count;
};

/* By a list that was taken. Returns 0, or -ENOMEM. The list must outlive the plan. */
int plan_make(const struct subscription *s, const struct imagelist *list, uint64_t now_us,
	struct plan *ret);

/* Where none was taken: what must go by what is known. `revoked` (may be NULL) says why all must.
 */
int plan_make_without_list(
	const struct subscription *s, const char *revoked, uint64_t now_us, struct plan *ret);

void plan_done(struct plan *p);

/* "kept", "new", "changed", "removed", "expired", "skipped". */
const char *plan_word(enum plan_action action);
