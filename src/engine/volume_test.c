#include "engine/volume.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

/* Behind ours: its fail() is a macro. */
#include <cmocka.h>

static void an_option_names_a_volume(void **state)
{
	static const struct {
		const char *text, *name, *target;
		bool read_only;
	} good[] = {
		{"data", "data", "/volumes/data", false},
		{"data:ro", "data", "/volumes/data", true},
		{"alice/data:/srv/./data:ro", "alice/data", "/srv/data", true},
		{"d:/a:rw", "d", "/a", false},
	};
	struct volume_list list = {.count = 0};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(volume_add(&list, good[i].text, NULL), 0);
		assert_string_equal(list.items[0].name, good[i].name);
		assert_string_equal(list.items[0].target, good[i].target);
		assert_int_equal(list.items[0].read_only, good[i].read_only);
		volume_list_done(&list);
	}
}

static void what_names_none_is_refused(void **state)
{
	static const char *const bad[] = {
		"", ":/a", "data:here", "data:/a:/b", "data:/", "data:xx"};
	struct volume_list list = {.count = 0};
	char name[16];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(volume_add(&list, bad[i], NULL) < 0);
		volume_list_done(&list);
	}
	for (int i = 0; i < VM_VOLUMES_MAX; i++) {
		snprintf(name, sizeof(name), "v%d", i);
		assert_int_equal(volume_add(&list, name, NULL), 0);
	}
	assert_int_equal(volume_add(&list, "more", NULL), -E2BIG);
	list.count--;
	assert_int_equal(volume_add(&list, "v0", NULL), -EEXIST);
	list.count++;
	volume_list_done(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_option_names_a_volume),
		cmocka_unit_test(what_names_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
