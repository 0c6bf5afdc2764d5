#include "courier/delta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct delta *d;
static json_t *vms, *gone;

static int setup(void **state)
{
	d = delta_new();
	return d ? 0 : -1;
}

static void forget(void)
{
	json_decref(vms);
	json_decref(gone);
	vms = gone = NULL;
}

static int teardown(void **state)
{
	d = delta_free(d);
	forget();
	return 0;
}

/* "a1 b2": VMs and their states. What is to be told of them, as "a1|b": changed, and gone. */
static const char *make(const char *all, bool full)
{
	static char text[128];
	json_t *list = json_array(), *item;
	size_t i;

	for (const char *c = all; *c; c += 2 + (c[2] == ' '))
		json_array_append_new(list,
			json_pack("{s:o, s:i}", "id", json_stringn(c, 1), "state", c[1] - '0'));
	forget();
	delta_make(d, list, full, &vms, &gone);
	json_decref(list);
	text[0] = '\0';
	json_array_foreach(vms, i, item)
		sprintf(text + strlen(text), "%s%d", json_string_value(json_object_get(item, "id")),
			(int)json_integer_value(json_object_get(item, "state")));
	strcat(text, "|");
	json_array_foreach(gone, i, item) strcat(text, json_string_value(item));
	return text;
}

static void only_what_has_changed_is_told(void **state)
{
	assert_string_equal(make("a1 b1", true), "a1b1|");
	delta_commit(d);
	assert_string_equal(make("a1 b1", false), "|");
	delta_commit(d);
	assert_string_equal(make("a2 b1 c1", false), "a2c1|");
	delta_commit(d);
	assert_string_equal(make("a2 c1", false), "|b");
	delta_commit(d);
	assert_string_equal(make("", false), "|ac");
}

static void what_was_not_answered_is_told_again(void **state)
{
	make("a1 b1", true);
	delta_commit(d);
	assert_string_equal(make("a2", false), "a2|b");
	assert_string_equal(make("a2", false), "a2|b");
	assert_string_equal(make("a3 b1", false), "a3|");
	delta_commit(d);
	assert_string_equal(make("a3 b1", false), "|");
}

static void full_one_tells_all(void **state)
{
	make("a1 b1", true);
	delta_commit(d);
	assert_string_equal(make("b1", true), "b1|");
	delta_commit(d);
	assert_string_equal(make("b1", false), "|");
}

static void more_than_fits_comes_with_the_next(void **state)
{
	json_t *list = json_array();
	size_t told = 0;

	for (int i = 0; i < 2 * DELTA_MAX + 1; i++)
		json_array_append_new(list, json_pack("{s:o}", "id", json_sprintf("%d", i)));
	for (int i = 0; i < 3; i++) {
		forget();
		delta_make(d, list, i == 0, &vms, &gone);
		delta_commit(d);
		assert_true(delta_has_more(d) == (i < 2));
		told += json_array_size(vms);
	}
	assert_int_equal(told, 2 * DELTA_MAX + 1);
	json_decref(list);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(only_what_has_changed_is_told),
		EACH(what_was_not_answered_is_told_again),
		EACH(full_one_tells_all),
		EACH(more_than_fits_comes_with_the_next),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
