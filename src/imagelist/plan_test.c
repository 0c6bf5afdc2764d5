#include "imagelist/plan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "imagelist/sample_test.h"

#define IDENTIFIER "c0482bc2-bf41-5d49-aaaa-a750174a186b"
#define NOW_US     UINT64_C(1794000000000000) /* in November 2026 */
#define DAY_US     UINT64_C(86400000000)

static struct subscription *make_subscription(void)
{
	struct subscription *s = calloc(1, sizeof(*s));

	s->name = strdup("egi");
	s->tag = strdup("latest");
	s->version = strdup("1");
	s->expires_us = NOW_US + DAY_US;
	return s;
}

/* The sample's image is in the store already. */
static struct subscription_image *make_known(struct subscription *s, const char *identifier)
{
	struct subscription_image *known = subscription_add_image(s);

	known->identifier = strdup(identifier);
	known->reference = strdup("cern:vm");
	known->title = strdup("CernVM");
	known->version = strdup("1");
	known->sha512 = strdup("00");
	known->digest = strdup("d");
	return known;
}

static void assert_item(const struct plan *p, size_t i, enum plan_action action,
	const char *reference, const char *reason)
{
	assert_true(i < p->count);
	assert_string_equal(plan_word(p->items[i].action), plan_word(action));
	if (reference)
		assert_string_equal(p->items[i].reference, reference);
	if (reason && !strstr(p->items[i].reason, reason))
		fail_msg("'%s' does not say '%s'", p->items[i].reason, reason);
}

/* What becomes of the only image of this list; takes `root`. */
static void assert_planned(struct subscription *s, json_t *root, enum plan_action action,
	const char *reference, const char *reason)
{
	struct imagelist *list AUTO(imagelist_freep) = sample_parse(root);
	struct plan p AUTO(plan_done) = {0};

	json_decref(root);
	assert_int_equal(plan_make(s, list, NOW_US, &p), 0);
	assert_int_equal(p.count, 1);
	assert_item(&p, 0, action, reference, reason);
}

static void a_new_image_gets_a_name_of_its_title(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();
	json_t *root = sample_list();
	struct imagelist *list AUTO(imagelist_freep) = NULL;
	struct plan p AUTO(plan_done) = {0};

	sample_add(root, "deadbeef-1", "image for cernvm (SL/6.0/KVM)");
	sample_add(root, "another", "\xc3\xa9");
	list = sample_parse(root);
	json_decref(root);
	assert_int_equal(plan_make(s, list, NOW_US, &p), 0);
	assert_item(&p, 0, PLAN_NEW, "egi-image-for-cernvm-sl-6.0-kvm:latest", NULL);
	/* Two of one title are two. */
	assert_item(&p, 1, PLAN_NEW, "egi-image-for-cernvm-sl-6.0-kvm-deadbeef:latest", NULL);
	assert_item(&p, 2, PLAN_NEW, "egi:latest", NULL);
}

static void long_titles_make_names_that_fit(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();
	json_t *root = sample_list();
	struct imagelist *list AUTO(imagelist_freep) = NULL;
	struct plan p AUTO(plan_done) = {0};
	char title[200];

	memset(title, 'x', sizeof(title) - 1);
	title[sizeof(title) - 1] = '\0';
	for (int i = 0; i < 2; i++)
		sample_add(
			root, i == 0 ? "first-long-identifier" : "second-long-identifier", title);
	list = sample_parse(root);
	json_decref(root);
	assert_int_equal(plan_make(s, list, NOW_US, &p), 0);
	assert_int_equal(p.count, 3);
	for (size_t i = 1; i < p.count; i++)
		assert_true(strcspn(p.items[i].reference, ":") <= 64);
	assert_string_not_equal(p.items[1].reference, p.items[2].reference);
}

static void what_is_there_is_kept_and_what_changed_is_changed(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();
	struct subscription_image *known = make_known(s, IDENTIFIER);
	json_t *root = sample_list();

	assert_planned(s, json_deep_copy(root), PLAN_CHANGE, "cern:vm", NULL);
	free(known->sha512);
	known->sha512 = strdup(
		json_string_value(json_object_get(sample_image(root), "sl:checksum:sha512")));
	assert_planned(s, json_deep_copy(root), PLAN_KEEP, "cern:vm", NULL);
	known->gone = strdup("it was in the list no more");
	assert_planned(s, root, PLAN_NEW, "cern:vm", NULL);
}

static void what_left_the_list_goes_once(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();
	json_t *root = sample_list();
	struct imagelist *list AUTO(imagelist_freep) = sample_parse(root);
	struct plan p AUTO(plan_done) = {0};

	json_decref(root);
	make_known(s, "no-more");
	make_known(s, "long-gone")->gone = strdup("before");
	assert_int_equal(plan_make(s, list, NOW_US, &p), 0);
	assert_int_equal(p.count, 2);
	assert_item(&p, 1, PLAN_REMOVE, "cern:vm", "in the list no more");
}

static void what_cannot_run_here_is_skipped(void **state)
{
	static const char *const keys[] = {"sl:arch", "hv:hypervisor"};
	static const char *const values[] = {"aarch64", "VMWare,VirtualBox"};
	struct subscription *s AUTO(subscription_freep) = make_subscription();

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_t *root = sample_list();

		json_object_set_new(sample_image(root), keys[i], json_string(values[i]));
		assert_planned(s, root, PLAN_SKIP, NULL, values[i]);
	}
}

static void an_images_own_time_counts(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();
	json_t *root = sample_list();

	json_object_set_new(
		sample_image(root), "dc:date:expires", json_string("2026-11-02T00:00:00Z"));
	assert_planned(s, json_deep_copy(root), PLAN_SKIP, NULL, "expired");
	make_known(s, IDENTIFIER);
	assert_planned(s, root, PLAN_EXPIRE, "cern:vm", "expired");
}

static void choices_choose_and_name(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();

	assert_int_equal(subscription_add_choice(s, "another", NULL), 0);
	assert_planned(s, sample_list(), PLAN_SKIP, NULL, "chosen");
	assert_int_equal(subscription_add_choice(s, IDENTIFIER, "mine:v1"), 0);
	assert_planned(s, sample_list(), PLAN_NEW, "mine:v1", NULL);
}

static void without_a_list_only_time_and_revocation_take_away(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();
	struct plan kept AUTO(plan_done) = {0}, own AUTO(plan_done) = {0};
	struct plan lists AUTO(plan_done) = {0}, revoked AUTO(plan_done) = {0};
	struct subscription_image *known = make_known(s, IDENTIFIER);

	assert_int_equal(plan_make_without_list(s, NULL, NOW_US, &kept), 0);
	assert_item(&kept, 0, PLAN_KEEP, "cern:vm", NULL);
	known->expires_us = NOW_US - 1;
	assert_int_equal(plan_make_without_list(s, NULL, NOW_US, &own), 0);
	assert_item(&own, 0, PLAN_EXPIRE, "cern:vm", "the image has expired");
	known->expires_us = 0;
	assert_int_equal(plan_make_without_list(s, NULL, NOW_US + 2 * DAY_US, &lists), 0);
	assert_item(&lists, 0, PLAN_EXPIRE, "cern:vm", "its list has expired");
	assert_int_equal(plan_make_without_list(s, "stolen", NOW_US, &revoked), 0);
	assert_item(&revoked, 0, PLAN_REMOVE, "cern:vm", "stolen");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_image_gets_a_name_of_its_title),
		cmocka_unit_test(long_titles_make_names_that_fit),
		cmocka_unit_test(what_is_there_is_kept_and_what_changed_is_changed),
		cmocka_unit_test(what_left_the_list_goes_once),
		cmocka_unit_test(what_cannot_run_here_is_skipped),
		cmocka_unit_test(an_images_own_time_counts),
		cmocka_unit_test(choices_choose_and_name),
		cmocka_unit_test(without_a_list_only_time_and_revocation_take_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
