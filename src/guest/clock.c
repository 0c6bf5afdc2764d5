/* CLOCK: a clone's clock stands where its template was saved. */
#include <errno.h>
#include <time.h>

#include "guest/call.h"

int clock_on_call(const struct call *c)
{
	const struct clock_set *x = c->message;
	struct timespec t = {
		.tv_sec = (time_t)(x->realtime_ns / 1000000000),
		.tv_nsec = (long)(x->realtime_ns % 1000000000),
	};

	if (clock_settime(CLOCK_REALTIME, &t) < 0)
		return fail_errno(c->err, -errno, "cannot set the clock");
	return 0;
}
