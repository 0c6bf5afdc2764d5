#include "engine/request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char *nothing[] = {NULL};
static char **own_environ; /* cmocka's settings are in it */

static int setup(void **state)
{
	own_environ = environ;
	environ = nothing;
	setenv("OMP_NUM_THREADS", "4", 1);
	setenv("OMP_PROC_BIND", "true", 1);
	setenv("EMPTY", "", 1);
	setenv("EQUALS", "a=b=c", 1);
	*state = calloc(1, sizeof(struct request));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	request_done(*state);
	free(*state);
	environ = own_environ;
	return 0;
}

static void add(struct request *r, const char *text)
{
	struct error err = {0};

	if (request_add_env(r, text, &err) < 0)
		fail_msg("%s", err.text);
}

static void assert_env(const struct request *r, const char *name, const char *value)
{
	const char *is = strv_env_get(&r->env, name);

	if (value)
		assert_string_equal(is, value);
	else
		assert_null(is);
}

static void value_is_taken_as_it_is(void **state)
{
	struct request *r = *state;

	add(r, "A=1");
	add(r, "B=");
	add(r, "C=x=y *");
	assert_env(r, "A", "1");
	assert_env(r, "B", "");
	assert_env(r, "C", "x=y *");
	assert_int_equal(r->env.count, 3);
}

static void name_alone_takes_our_own_value(void **state)
{
	struct request *r = *state;

	add(r, "EQUALS");
	add(r, "EMPTY");
	add(r, "NOT_SET");
	assert_env(r, "EQUALS", "a=b=c");
	assert_env(r, "EMPTY", "");
	assert_env(r, "NOT_SET", NULL);
	assert_int_equal(r->env.count, 2);
}

static void pattern_takes_all_that_match(void **state)
{
	struct request *r = *state;

	add(r, "OMP_*");
	assert_env(r, "OMP_NUM_THREADS", "4");
	assert_env(r, "OMP_PROC_BIND", "true");
	assert_env(r, "EMPTY", NULL);
	add(r, "*");
	assert_int_equal(r->env.count, 4);
}

static void later_value_replaces_an_earlier_one(void **state)
{
	struct request *r = *state;

	add(r, "OMP_NUM_THREADS=1");
	add(r, "OMP_NUM_THREADS");
	assert_env(r, "OMP_NUM_THREADS", "4");
	add(r, "OMP_NUM_THREADS=2");
	assert_env(r, "OMP_NUM_THREADS", "2");
	assert_int_equal(r->env.count, 1);
}

static void value_without_a_name_is_refused(void **state)
{
	static const char *const texts[] = {"", "=", "=x"};
	struct request *r = *state;
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(request_add_env(r, texts[i], &err), -EINVAL);
		assert_non_null(strstr(err.text, "NAME=VALUE"));
	}
	assert_int_equal(r->env.count, 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(value_is_taken_as_it_is),
		EACH(name_alone_takes_our_own_value),
		EACH(pattern_takes_all_that_match),
		EACH(later_value_replaces_an_earlier_one),
		EACH(value_without_a_name_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
