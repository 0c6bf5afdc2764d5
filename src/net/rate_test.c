#include "net/rate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "net/bubble_test.h"
#include "net/link.h"

#define FRAME   1400
#define SECOND  UINT64_C(1000000)
#define HEADERS 10 /* virtio's, before each frame */

static int tap, sender;
static struct link link_;

static int setup(void **state)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET};
	struct error err = {0};

	if (link_open_tap("wnt1", 1, &tap, &err) < 0 || link_get(bubble, "wnt1", &link_) < 0 ||
		link_change(bubble, link_.index, &(struct link_change){.up = true}) < 0)
		return -1;
	sender = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	address.sll_ifindex = link_.index;
	return bind(sender, (struct sockaddr *)&address, sizeof(address));
}

static int teardown(void **state)
{
	close(tap);
	close(sender);
	return 0;
}

/* Sends as fast as it goes for `us`; returns bytes a second that come out at the other end. */
static uint64_t measure(uint64_t us, uint32_t priority)
{
	static const char frame[FRAME] = "\xff\xff\xff\xff\xff\xff\x52\x57\x00\x00\x00\x01\x08\x00";
	uint64_t start = clock_now_us(), bytes = 0;
	char buffer[FRAME + 64];

	setsockopt(sender, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
	while (clock_now_us() - start < us) {
		struct pollfd p = {.fd = tap, .events = POLLIN};
		ssize_t n;

		for (int i = 0; i < 8; i++)
			if (send(sender, frame, sizeof(frame), 0) < 0)
				break;
		poll(&p, 1, 1);
		while ((n = read(tap, buffer, sizeof(buffer))) > 0)
			bytes += (uint64_t)n - HEADERS;
	}
	return bytes * SECOND / us;
}

static void assert_about(uint64_t value, uint64_t wanted)
{
	if (value < wanted * 9 / 10 || value > wanted * 11 / 10)
		fail_msg("%llu is not within a tenth of %llu", (unsigned long long)value,
			(unsigned long long)wanted);
}

static void what_leaves_keeps_to_the_rate(void **state)
{
	const uint64_t rate = 2000000;
	struct error err = {0};

	assert_true(measure(SECOND / 10, 0) > rate * 2);
	if (rate_limit(bubble, link_.index, rate, &err) < 0)
		fail_msg("%s", err.text);
	measure(SECOND / 10, 0); /* the burst */
	assert_about(measure(SECOND, 0), rate);
	/* A second time: the new rate stands for the old one. */
	assert_int_equal(rate_limit(bubble, link_.index, rate * 2, &err), 0);
	measure(SECOND / 10, 0);
	assert_about(measure(SECOND, 0), rate * 2);
}

static void count(uint16_t share, void *userdata)
{
	*(int *)userdata += share;
}

static void share_has_its_ceiling(void **state)
{
	const uint64_t capacity = 8000000;
	struct error err = {0};
	int sum = 0;

	if (rate_share(bubble, link_.index, capacity, &err) < 0 ||
		rate_add_share(bubble, link_.index, 7, 1000000, 2000000, &err) < 0 ||
		rate_add_share(bubble, link_.index, 8, 1000000, 0, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(rate_share(bubble, link_.index, capacity, &err), 0);
	measure(SECOND / 10, (1 << 16) + 7);
	assert_about(measure(SECOND, (1 << 16) + 7), 2000000);
	rate_each_share(bubble, link_.index, count, &sum);
	assert_int_equal(sum, 15);
	assert_int_equal(rate_remove_share(bubble, link_.index, 7), 0);
	assert_int_equal(rate_remove_share(bubble, link_.index, 7), 0);
	sum = 0;
	rate_each_share(bubble, link_.index, count, &sum);
	assert_int_equal(sum, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_leaves_keeps_to_the_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(share_has_its_ceiling, setup, teardown),
	};
	int r;

	if (!bubble_enter())
		return 77; /* skipped */
	r = cmocka_run_group_tests(tests, NULL, NULL);
	bubble = netlink_free(bubble);
	return r;
}
