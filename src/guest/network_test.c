/* NETWORK on a card in a network of its own, so that nothing of the machine's changes. */
#include "guest/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "guest/call.h"
#include "guest/guest.h"
#include "guest/host_test.h"
#include "guest/now.h"

/* After our own headers: it defines a macro of the name fail. */
#include <cmocka.h>

#define PLACEHOLDER "52:54:00:00:00:01"
#define OWN         "52:54:00:77:88:99"

static int control;

/* A card with the address that those of all clones begin with. -1 where there can be none. */
static int card_make(void)
{
	static const unsigned char mac[] = {0x52, 0x54, 0, 0, 0, 1};
	struct ifreq r = {.ifr_name = "card0", .ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0)
		return -1;
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r = (struct ifreq){.ifr_name = "card0", .ifr_hwaddr.sa_family = 1};
	memcpy(r.ifr_hwaddr.sa_data, mac, sizeof(mac));
	assert_int_equal(ioctl(control, SIOCSIFHWADDR, &r), 0);
	return fd;
}

static const unsigned char *card_mac(void)
{
	static struct ifreq r;

	r = (struct ifreq){.ifr_name = "card0"};
	assert_int_equal(ioctl(control, SIOCGIFHWADDR, &r), 0);
	return (const unsigned char *)r.ifr_hwaddr.sa_data;
}

static int network_call(const char *mac, const char *card, struct error *err)
{
	static struct guest g = {.root = "/"}; /* it has no name servers to write there */
	const char *none[] = {NULL};
	struct network_request x = {.mac = mac,
		.address = "10.0.2.15",
		.prefix = 24,
		.gateway = "10.0.2.2",
		.nameservers = none,
		.card = card,
		.address6 = "2001:db8::5",
		.prefix6 = 64,
		.gateway6 = "fe80::1"};
	struct call c = {.guest = &g, .message = &x, .err = err};

	*err = (struct error){0};
	return network_on_call(&c);
}

static void address_is_set(void)
{
	struct ifreq r = {.ifr_name = "card0"};
	struct sockaddr_in in;

	assert_int_equal(ioctl(control, SIOCGIFADDR, &r), 0);
	memcpy(&in, &r.ifr_addr, sizeof(in));
	assert_int_equal(in.sin_addr.s_addr, inet_addr("10.0.2.15"));
	assert_int_equal(ioctl(control, SIOCGIFFLAGS, &r), 0);
	assert_true(r.ifr_flags & IFF_UP);
}

static bool file_has(const char *path, const char *text)
{
	char content[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, content, sizeof(content) - 1);

	close(fd);
	content[n < 0 ? 0 : n] = '\0';
	return strstr(content, text) != NULL;
}

/* It can be used at once: nobody is asked whether it is his. */
static void ipv6_is_set(void)
{
	struct sockaddr_in6 own = {.sin6_family = AF_INET6};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || !file_has("/proc/net/if_inet6", "card0"))
		return;
	inet_pton(AF_INET6, "2001:db8::5", &own.sin6_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	close(fd);
	assert_true(file_has("/proc/net/ipv6_route",
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
		"fe800000000000000000000000000001"));
}

static void card_gets_its_address(void)
{
	static const unsigned char own[] = {0x52, 0x54, 0, 0x77, 0x88, 0x99};
	struct error err = {0};
	int64_t start;

	if (card_make() < 0)
		return;
	start = now_ms();
	assert_int_equal(network_call(OWN, PLACEHOLDER, &err), 0);
	/* The link is there: nothing is waited for. */
	assert_true(now_ms() - start < 90);
	assert_memory_equal(card_mac(), own, sizeof(own));
	address_is_set();
	ipv6_is_set();
	/* Again, as after a lost answer: the card is found by the address that it has got. */
	assert_int_equal(network_call(OWN, PLACEHOLDER, &err), 0);
	assert_int_equal(network_call(OWN, "", &err), 0);
	assert_memory_equal(card_mac(), own, sizeof(own));
}

static void test_card_gets_its_address(void **state)
{
	if (!host_in_namespace(card_gets_its_address))
		skip();
}

static void strange_addresses_are_refused(void)
{
	static const char *const bad[] = {"52:54:00:00:00", "52:54:00:00:00:0g", "525400000001",
		"52:54:00:00:00:01:", ":::::::::::::::::", "52:54:0:00:00:0001"};
	struct error err = {0};

	if (card_make() < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(network_call(bad[i], PLACEHOLDER, &err), -EINVAL);
		assert_int_equal(network_call(OWN, bad[i], &err), -EINVAL);
	}
	/* A group's address is none for a card. */
	assert_true(network_call("53:54:00:00:00:01", PLACEHOLDER, &err) < 0);
}

static void test_strange_addresses_are_refused(void **state)
{
	if (!host_in_namespace(strange_addresses_are_refused))
		skip();
}

static void warmed_cards_are_left_down(void)
{
	struct ifreq r = {.ifr_name = "card0"};

	if (card_make() < 0)
		return;
	network_warm();
	assert_int_equal(ioctl(control, SIOCGIFFLAGS, &r), 0);
	assert_false(r.ifr_flags & IFF_UP);
}

static void test_warmed_cards_are_left_down(void **state)
{
	if (!host_in_namespace(warmed_cards_are_left_down))
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_card_gets_its_address),
		cmocka_unit_test(test_strange_addresses_are_refused),
		cmocka_unit_test(test_warmed_cards_are_left_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
