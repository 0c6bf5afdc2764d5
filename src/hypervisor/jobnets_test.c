/* What a VM's program may ask of a node as the network of its job. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include "hypervisor/jobnets.h"

#include <cmocka.h>

#define KEY "000102030405060708090a0b0c0d0e0f"

static char ten[] = "10.0.0.0/8", host[] = "192.0.2.7/32";
static char *hosts[] = {ten, host, NULL};
static struct settings settings = {.node_job_port = 7118, .node_job_hosts = hosts};
static sd_event *event;
static struct jobnets *jobnets;
static struct jobnet_place *place;
static struct error err;

static int setup(void **state)
{
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(jobnets_new(event, &settings, &jobnets), 0);
	return 0;
}

static int teardown(void **state)
{
	place = jobnets_close(jobnets, place, false);
	jobnets = jobnets_free(jobnets);
	event = sd_event_unref(event);
	settings.node_job_port = 7118;
	return 0;
}

static int parse(const char *text)
{
	json_t *json = text ? json_loads(text, 0, NULL) : NULL;
	int r;

	if (text)
		assert_non_null(json);
	err = (struct error){0};
	place = jobnets_close(jobnets, place, false);
	r = jobnets_parse(jobnets, json, &place, &err);
	json_decref(json);
	return r;
}

static void nodes_of_the_site_are_members_with_cards(void **state)
{
	assert_int_equal(
		parse("{\"key\":\"" KEY "\",\"index\":1,\"nodes\":[\"10.1.2.3\",\"192.0.2.7\"]}"),
		0);
	assert_int_equal(place->net.count, 2);
	assert_int_equal(place->net.self, 1);
	assert_int_equal(place->net.port, 7118);
	assert_true(place->net.number < JOBNET_NUMBERS);
	assert_int_equal(place->members[1].mac[5], 2);
	assert_int_equal(place->tap_fd, -1);
}

static void number_follows_from_the_key_alone(void **state)
{
	uint32_t number;

	assert_int_equal(
		parse("{\"key\":\"" KEY "\",\"index\":0,\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}"),
		0);
	number = place->net.number;
	assert_int_equal(
		parse("{\"key\":\"" KEY "\",\"index\":1,\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}"),
		0);
	assert_int_equal(place->net.number, number);
	assert_int_equal(parse("{\"key\":\"ff0102030405060708090a0b0c0d0e0f\",\"index\":1,"
			       "\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}"),
		0);
	assert_int_not_equal(place->net.number, number);
}

static void where_no_node_of_the_site_is_nothing_is_sent(void **state)
{
	assert_int_equal(
		parse("{\"key\":\"" KEY "\",\"index\":0,\"nodes\":[\"10.1.2.3\",\"192.0.2.8\"]}"),
		-EPERM);
	assert_non_null(strstr(err.text, "192.0.2.8"));
	assert_non_null(strstr(err.text, "job_hosts"));
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"key\":\"" KEY "\"}",
		"{\"key\":\"" KEY "0\",\"index\":0,\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}",
		"{\"key\":\"../../../../../../../../etc/pass\",\"index\":0,"
		"\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}",
		"{\"key\":7,\"index\":0,\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}",
		"{\"key\":\"" KEY "\",\"index\":2,\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}",
		"{\"key\":\"" KEY "\",\"index\":-1,\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}",
		"{\"key\":\"" KEY "\",\"index\":\"0\",\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}",
		"{\"key\":\"" KEY "\",\"index\":0,\"nodes\":[\"10.1.2.3\"]}",
		"{\"key\":\"" KEY "\",\"index\":0,\"nodes\":[\"10.1.2.3\",7]}",
		"{\"key\":\"" KEY "\",\"index\":0,\"nodes\":[\"10.1.2.3\",\"::1\"]}",
		"{\"key\":\"" KEY "\",\"index\":0,\"nodes\":[\"10.1.2.3\",\"10.1.2.4; drop\"]}",
		"{\"key\":\"" KEY "\",\"index\":0,\"nodes\":\"10.1.2.3\"}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse(bad[i]) >= 0)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(parse(NULL), -EINVAL);
	assert_non_null(strstr(err.text, "srun"));
}

static void node_without_a_port_for_it_says_so(void **state)
{
	settings.node_job_port = 0;
	assert_int_equal(
		parse("{\"key\":\"" KEY "\",\"index\":0,\"nodes\":[\"10.1.2.3\",\"10.1.2.4\"]}"),
		-EPERM);
	assert_non_null(strstr(err.text, "job_port"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			nodes_of_the_site_are_members_with_cards, setup, teardown),
		cmocka_unit_test_setup_teardown(number_follows_from_the_key_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(
			where_no_node_of_the_site_is_nothing_is_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(what_makes_no_sense_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(
			node_without_a_port_for_it_says_so, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
