/* How much users without a role may send in a day: what they publish has a quota, and what they
 * send without publishing it is collected only after a day. One thread uses it. */
#pragma once

#include "lib/base.h"

struct budget;
struct budget *budget_new(void);
struct budget *budget_free(struct budget *b);
DEFINE_CLEANUP(struct budget *, budget_free)

/* May `name` send so many bytes more, of at most `max` a day? Counts them if so. */
bool budget_take(struct budget *b, const char *name, uint64_t bytes, uint64_t max, uint64_t now_us);
