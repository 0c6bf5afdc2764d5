/* How much of its network a node gives to others: so many answers at a time, and so many bytes a
 * second. Pure decisions, with the time as an argument. */
#pragma once

#include "lib/base.h"

struct throttle {
	size_t slots, taken;
	uint64_t rate;    /* bytes a second; 0: no limit */
	int64_t bytes;    /* that may be sent at once; negative: those that were sent too early */
	uint64_t last_us; /* when that was so */
};

void throttle_init(struct throttle *t, size_t slots, uint64_t rate, uint64_t now_us);

/* Takes a slot. False: none is free, or too much has been sent; come again. */
bool throttle_take(struct throttle *t, uint64_t now_us);

/* An answer of this length is being sent. */
void throttle_send(struct throttle *t, uint64_t bytes);
void throttle_give_back(struct throttle *t);
