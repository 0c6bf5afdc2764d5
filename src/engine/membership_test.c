#include "engine/membership.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool has(const struct strv *v, const char *name)
{
	for (size_t i = 0; i < v->count; i++)
		if (streq(v->items[i], name))
			return true;
	return false;
}

static void primary_group_comes_first(void **state)
{
	struct strv groups AUTO(strv_done) = {0};
	struct error err = {0};

	if (membership_load("root", &groups, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(groups.count >= 1);
	assert_string_equal(groups.items[0], "root");
}

/* Each group that the database gives somebody as a member must be found. */
static void supplementary_groups_are_there(void **state)
{
	size_t seen = 0;
	struct group *group;

	setgrent();
	while ((group = getgrent()) && seen < 20) {
		struct strv groups AUTO(strv_done) = {0};
		autofree char *name = strdup(group->gr_name);

		if (!group->gr_mem[0] || !getpwnam(group->gr_mem[0]))
			continue;
		assert_int_equal(membership_load(group->gr_mem[0], &groups, NULL), 0);
		assert_true(has(&groups, name));
		seen++;
	}
	endgrent();
	if (seen == 0)
		skip();
}

static void unknown_user_is_told(void **state)
{
	struct strv groups AUTO(strv_done) = {0};
	struct error err = {0};

	assert_int_equal(membership_load("no-such-user", &groups, &err), -ENOENT);
	assert_string_equal(err.text, "the account database has no user 'no-such-user'");
	assert_int_equal(membership_load("", &groups, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(primary_group_comes_first),
		cmocka_unit_test(supplementary_groups_are_there),
		cmocka_unit_test(unknown_user_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
