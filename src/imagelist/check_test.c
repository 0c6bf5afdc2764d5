/* The rules but for the signature, which smime_test has. */
#include "imagelist/check.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "imagelist/sample_test.h"

#define NOW_US UINT64_C(1794000000000000) /* in November 2026 */

static struct subscription *make_subscription(void)
{
	struct subscription *s = calloc(1, sizeof(*s));

	assert_int_equal(subscription_add_endorser(s, "/CN=Other", SAMPLE_CA), 0);
	assert_int_equal(subscription_add_endorser(s, SAMPLE_DN, SAMPLE_CA), 0);
	return s;
}

/* Checks the sample with a member of its replaced (NULL: none). */
static int check(const struct subscription *s, const char *key, const char *value,
	const char *subject, uint64_t now_us, struct error *err)
{
	autofree char *dn = strdup(subject), *ca = strdup(SAMPLE_CA);
	struct smime_signer signer = {dn, ca};
	struct imagelist *list AUTO(imagelist_freep) = NULL;
	json_t *root = sample_list();

	if (key)
		json_object_set_new(sample_object(root), key, json_string(value));
	list = sample_parse(root);
	json_decref(root);
	return check_list(list, &signer, s, now_us, err);
}

static void assert_verdict(const struct subscription *s, enum check_verdict verdict,
	const char *key, const char *value, uint64_t now_us)
{
	struct error err = {0};
	int r = check(s, key, value, SAMPLE_DN, now_us, &err);

	if (r != (int)verdict)
		fail_msg("%s: %s (%s)", check_word(verdict), check_word((enum check_verdict)r),
			err.text);
	assert_int_equal(r != 0, err.text[0] != '\0');
}

static void a_good_list_is_taken(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();

	assert_verdict(s, CHECK_TAKEN, NULL, NULL, NOW_US);
	s->identifier = strdup("76fdee70-8119-5d33-aaaa-3c57e1c60df1");
	s->version = strdup("20261101100000");
	assert_verdict(s, CHECK_TAKEN, NULL, NULL, NOW_US);
	assert_verdict(s, CHECK_TAKEN, "hv:version", "20261101100001", NOW_US);
}

static void the_signer_is_the_endorser_and_one_of_ours(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();
	struct error err = {0};

	assert_int_equal(check(s, NULL, NULL, "/CN=Other", NOW_US, &err), CHECK_SIGNER);
	assert_non_null(strstr(err.text, "/CN=Other"));
	free(s->endorsers[1].ca);
	s->endorsers[1].ca = strdup("/CN=Another CA");
	assert_verdict(s, CHECK_ENDORSER, NULL, NULL, NOW_US);
}

static void times_are_limits(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();
	const uint64_t created = UINT64_C(1793527200000000), expires = UINT64_C(1796119200000000);

	assert_verdict(s, CHECK_FUTURE, NULL, NULL, created - 1);
	assert_verdict(s, CHECK_TAKEN, NULL, NULL, created);
	assert_verdict(s, CHECK_TAKEN, NULL, NULL, expires);
	assert_verdict(s, CHECK_EXPIRED, NULL, NULL, expires + 1);
}

static void it_is_the_list_that_was_subscribed_to(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();

	s->identifier = strdup("another");
	assert_verdict(s, CHECK_IDENTIFIER, NULL, NULL, NOW_US);
}

static void versions_never_go_back(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make_subscription();

	s->version = strdup("20261102000000");
	assert_verdict(s, CHECK_OLDER, NULL, NULL, NOW_US);
	assert_verdict(s, CHECK_TAKEN, "hv:version", "20261102000000", NOW_US);
	s->created_us = UINT64_C(1793527200000001);
	assert_verdict(s, CHECK_OLDER, "hv:version", "20261102000000", NOW_US);
	assert_verdict(s, CHECK_TAKEN, "hv:version", "20261103000000", NOW_US);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_list_is_taken),
		cmocka_unit_test(the_signer_is_the_endorser_and_one_of_ours),
		cmocka_unit_test(times_are_limits),
		cmocka_unit_test(it_is_the_list_that_was_subscribed_to),
		cmocka_unit_test(versions_never_go_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
