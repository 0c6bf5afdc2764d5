#include "bench/place.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct place_vm vm = {.program = "/wnodes",
	.image = "bench",
	.cpus = 2,
	.memory_mib = 512,
	.scratch_bytes = 1024,
	.directory = "/var/tmp"};

static char *join(const struct place *p)
{
	struct strv argv AUTO(strv_done) = {0};
	char *text = calloc(1, 4096);

	place_fill_command(p, &vm, "/r", "true", &argv);
	assert_false(argv.failed);
	for (size_t i = 0; i < argv.count; i++)
		snprintf(text + strlen(text), 4096 - strlen(text), "%s ", argv.items[i]);
	return text;
}

static void bare_is_a_shell(void **state)
{
	struct place p;
	autofree char *text = NULL;

	assert_int_equal(place_parse_local("bare", &p, NULL), 0);
	text = join(&p);
	assert_string_equal(text, "sh -c true ");
	assert_string_equal(place_work(&p, &vm), "/var/tmp");
}

static void a_clone_says_so(void **state)
{
	struct place p;
	autofree char *text = NULL;

	assert_int_equal(place_parse_local("clone", &p, NULL), 0);
	text = join(&p);
	assert_non_null(strstr(text, "/wnodes run --image bench --start clone --network none"));
	assert_non_null(strstr(text, " -- sh -c true "));
}

static void a_gateway_has_the_directory(void **state)
{
	const struct place p = {PLACE_GATEWAY, "virtiofs", NULL};
	autofree char *text = join(&p);

	assert_non_null(strstr(text, "--mount=/var/tmp:/bench:gateway=virtiofs "));
	assert_string_equal(place_work(&p, &vm), "/bench");
}

static void networks_have_an_address(void **state)
{
	char user[] = "user", other[] = "lan=192.0.2.1", bad[] = "lan", empty[] = "lan=";
	struct error err = {0};
	struct place p;

	assert_int_equal(place_parse_network(user, &p, &err), 0);
	assert_string_equal(p.address, "10.0.2.2");
	assert_int_equal(place_parse_network(other, &p, &err), 0);
	assert_string_equal(p.name, "lan");
	assert_string_equal(p.address, "192.0.2.1");
	assert_int_equal(place_parse_network(bad, &p, &err), -EINVAL);
	assert_non_null(strstr(err.text, "lan=ADDRESS"));
	assert_int_equal(place_parse_network(empty, &p, &err), -EINVAL);
}

static void places_suit_their_trials(void **state)
{
	const struct place bare = {PLACE_BARE, "bare", NULL}, boot = {PLACE_BOOT, "boot", NULL};
	const struct place gateway = {PLACE_GATEWAY, "9p", NULL};

	assert_true(place_suits(&bare, trial_find("network")));
	assert_true(place_suits(&boot, trial_find("disk")));
	assert_false(place_suits(&boot, trial_find("share")));
	assert_true(place_suits(&gateway, trial_find("share")));
	assert_false(place_suits(&gateway, trial_find("disk")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bare_is_a_shell),
		cmocka_unit_test(a_clone_says_so),
		cmocka_unit_test(a_gateway_has_the_directory),
		cmocka_unit_test(networks_have_an_address),
		cmocka_unit_test(places_suit_their_trials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
