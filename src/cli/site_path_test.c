#include "cli/site_path.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void parts_and_values_are_encoded(void **state)
{
	struct site_path p AUTO(site_path_done) = {0};

	site_path_init(&p, "nodes", "a/b c", NULL);
	assert_string_equal(site_path_text(&p), "/v1/nodes/a%2Fb%20c");
	site_path_add(&p, "user", NULL);
	site_path_add(&p, "job", "x&y=\xc3\xa4?");
	site_path_add(&p, "state", "up");
	assert_string_equal(
		site_path_text(&p), "/v1/nodes/a%2Fb%20c?job=x%26y%3D%C3%A4%3F&state=up");
}

static void path_without_parts_is_the_version(void **state)
{
	struct site_path p AUTO(site_path_done) = {0};

	site_path_init(&p, NULL);
	assert_string_equal(site_path_text(&p), "/v1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_and_values_are_encoded),
		cmocka_unit_test(path_without_parts_is_the_version),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
