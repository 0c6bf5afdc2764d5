#include "lib/deadline.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/time.h>

#include <cmocka.h>

static void time_left_goes_to_zero_and_stays(void **state)
{
	uint64_t soon = deadline_in_ms(30), later = deadline_in_ms(60 * 1000);

	assert_in_range(deadline_left_ms(soon), 0, 30);
	assert_in_range(deadline_left_ms(later), 30 * 1000, 60 * 1000);
	usleep(40 * 1000);
	assert_int_equal(deadline_left_ms(soon), 0);
	assert_int_equal(deadline_left_ms(0), 0);
	assert_int_equal(deadline_left_ms(deadline_in_ms(-1)), -1);
}

static void on_alarm(int signo)
{
}

static void poll_ends_at_the_deadline_whatever_signals_come(void **state)
{
	const struct itimerval often = {{0, 5000}, {0, 5000}}, off = {0};
	struct pollfd pollfd = {.events = POLLIN};
	uint64_t start = deadline_now_ms();
	int ends[2], r;

	assert_int_equal(pipe(ends), 0);
	pollfd.fd = ends[0];
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	r = deadline_poll(&pollfd, 1, deadline_in_ms(100));
	setitimer(ITIMER_REAL, &off, NULL);
	assert_int_equal(r, -ETIMEDOUT);
	assert_in_range(deadline_now_ms() - start, 100, 20000);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(deadline_poll(&pollfd, 1, DEADLINE_NEVER), 1);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_left_goes_to_zero_and_stays),
		cmocka_unit_test(poll_ends_at_the_deadline_whatever_signals_come),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
