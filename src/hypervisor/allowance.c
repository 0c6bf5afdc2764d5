#include "hypervisor/allowance.h"

#define SECOND_US   1000000
#define DISCARDS    2
#define DISCARDS_US (300 * UINT64_C(1000000))

static struct allowance *find(const struct allowances *a, uid_t uid)
{
	for (struct allowance *i = a->list; i; i = i->next)
		if (i->uid == uid)
			return i;
	return NULL;
}

static bool is_full(const struct allowances *a, const struct allowance *allowance)
{
	return allowance->tokens >= (double)a->requests && allowance->discards >= DISCARDS;
}

/* Forgets users who are gone and have their full allowance again. */
static void sweep(struct allowances *a)
{
	for (struct allowance **at = &a->list; *at;) {
		struct allowance *i = *at;

		if (i->connections == 0 && is_full(a, i)) {
			*at = i->next;
			free(i);
		} else {
			at = &i->next;
		}
	}
}

struct allowance *allowances_connect(struct allowances *a, uid_t uid)
{
	struct allowance *allowance = find(a, uid);

	if (!allowance) {
		sweep(a);
		allowance = calloc(1, sizeof(*allowance));
		if (!allowance)
			return NULL;
		allowance->uid = uid;
		allowance->tokens = (double)a->requests;
		allowance->discards = DISCARDS;
		allowance->next = a->list;
		a->list = allowance;
	}
	if (allowance->connections >= a->connections_max && uid != 0)
		return NULL;
	allowance->connections++;
	return allowance;
}

void allowances_disconnect(struct allowances *a, struct allowance *allowance)
{
	allowance->connections--;
}

static bool take(double *has, uint64_t *since_us, uint64_t now_us, double most, double a_us)
{
	uint64_t passed = *since_us ? now_us - *since_us : 0;

	*has = MIN_OF(most, *has + (double)passed * a_us);
	*since_us = now_us;
	if (*has < 1)
		return false;
	*has -= 1;
	return true;
}

bool allowance_take_request(
	const struct allowances *a, struct allowance *allowance, uint64_t now_us)
{
	return allowance->uid == 0 || take(&allowance->tokens, &allowance->refilled_us, now_us,
					      (double)a->requests, (double)a->requests / SECOND_US);
}

bool allowance_take_discard(struct allowance *allowance, uint64_t now_us)
{
	return allowance->uid == 0 || take(&allowance->discards, &allowance->discards_us, now_us,
					      DISCARDS, 1.0 / (double)DISCARDS_US);
}

void allowances_done(struct allowances *a)
{
	while (a->list) {
		struct allowance *next = a->list->next;

		free(a->list);
		a->list = next;
	}
}
