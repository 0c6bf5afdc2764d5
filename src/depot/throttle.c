#include "depot/throttle.h"

#define SECOND UINT64_C(1000000)

void throttle_init(struct throttle *t, size_t slots, uint64_t rate, uint64_t now_us)
{
	*t = (struct throttle){.slots = slots, .taken = t->taken, .rate = rate, .last_us = now_us};
}

/* What was not sent in a second is not sent later. */
static void fill(struct throttle *t, uint64_t now_us)
{
	uint64_t passed = now_us > t->last_us ? MIN_OF(now_us - t->last_us, 60 * SECOND) : 0;
	int64_t more = (int64_t)((double)t->rate * (double)passed / (double)SECOND);

	if (more == 0)
		return;
	t->bytes = MIN_OF(t->bytes + more, (int64_t)t->rate);
	t->last_us = now_us;
}

bool throttle_take(struct throttle *t, uint64_t now_us)
{
	if (t->taken >= t->slots)
		return false;
	if (t->rate > 0) {
		fill(t, now_us);
		if (t->bytes < 0)
			return false;
	}
	t->taken++;
	return true;
}

void throttle_send(struct throttle *t, uint64_t bytes)
{
	if (t->rate > 0)
		t->bytes -= (int64_t)bytes;
}

void throttle_give_back(struct throttle *t)
{
	if (t->taken > 0)
		t->taken--;
}
