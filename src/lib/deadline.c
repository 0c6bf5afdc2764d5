#include "lib/deadline.h"

#include <errno.h>
#include <limits.h>
#include <time.h>

uint64_t deadline_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t deadline_in_ms(int timeout_ms)
{
	return timeout_ms < 0 ? DEADLINE_NEVER : deadline_now_ms() + (uint64_t)timeout_ms;
}

int deadline_left_ms(uint64_t deadline)
{
	uint64_t now = deadline_now_ms();

	if (deadline == DEADLINE_NEVER)
		return -1;
	return deadline <= now ? 0 : (int)MIN_OF(deadline - now, (uint64_t)INT_MAX);
}

int deadline_poll(struct pollfd *fds, size_t count, uint64_t deadline)
{
	int n;

	do
		n = poll(fds, (nfds_t)count, deadline_left_ms(deadline));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == 0 ? -ETIMEDOUT : n;
}
