#include "imagelist/list.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "imagelist/sample_test.h"

static int parse(json_t *root, struct imagelist **ret, struct error *err)
{
	autofree char *json = json_dumps(root, 0);

	json_decref(root);
	return imagelist_parse(json, strlen(json), ret, err);
}

static void assert_refused(json_t *root, const char *because)
{
	struct imagelist *list = NULL;
	struct error err = {0};

	assert_int_equal(parse(root, &list, &err), -EINVAL);
	assert_null(list);
	if (!strstr(err.text, because))
		fail_msg("'%s' does not say '%s'", err.text, because);
}

static void assert_passed_over(json_t *root, const char *because)
{
	struct imagelist *list AUTO(imagelist_freep) = NULL;

	assert_int_equal(parse(root, &list, NULL), 0);
	assert_int_equal(list->image_count, 0);
	assert_int_equal(list->warnings.count, 1);
	if (!strstr(list->warnings.items[0], because))
		fail_msg("'%s' does not say '%s'", list->warnings.items[0], because);
}

static void all_that_is_known_is_read(void **state)
{
	json_t *root = sample_list();
	struct imagelist *list AUTO(imagelist_freep) = sample_parse(root);
	const struct imagelist_image *image = &list->images[0];

	json_decref(root);
	assert_string_equal(list->version, "20261101100000");
	assert_string_equal(list->description, "Two\nlines");
	assert_string_equal(list->vo, "some.vo.net");
	assert_int_equal(list->created_us, UINT64_C(1793527200000000));
	assert_string_equal(list->endorser.dn, SAMPLE_DN);
	assert_string_equal(list->endorser.ca, SAMPLE_CA);
	assert_int_equal(list->image_count, 1);
	assert_int_equal(image->size, 121243136);
	assert_int_equal(image->min_memory_mib, 512);
	assert_int_equal(image->min_cpus, 1);
	assert_int_equal(image->expires_us, 0);
	assert_string_equal(image->os_version, "6.0");
	assert_string_equal(image->description, "");
	assert_int_equal(list->warnings.count, 0);
}

static void numbers_may_be_texts_and_texts_numbers(void **state)
{
	json_t *root = sample_list();
	struct imagelist *list AUTO(imagelist_freep) = NULL;

	json_object_set_new(sample_image(root), "hv:size", json_string("121243136"));
	json_object_set_new(sample_image(root), "sl:osversion", json_real(6.1));
	json_object_set_new(sample_image(root), "hv:core_minimum", json_string(""));
	json_object_set_new(sample_object(root), "hv:version", json_integer(7));
	list = sample_parse(root);
	json_decref(root);
	assert_int_equal(list->images[0].size, 121243136);
	assert_string_equal(list->images[0].os_version, "6.1");
	assert_int_equal(list->images[0].min_cpus, 0);
	assert_string_equal(list->version, "7");
}

static void a_list_that_lacks_something_is_refused(void **state)
{
	static const char *const required[] = {"dc:date:created", "dc:date:expires",
		"dc:identifier", "dc:title", "dc:description", "dc:source", "hv:uri", "hv:version",
		"hv:endorser", "hv:images"};
	static const char *const of_endorser[] = {"hv:ca", "hv:dn", "hv:email", "dc:creator"};

	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		json_t *root = sample_list();

		json_object_del(sample_object(root), required[i]);
		assert_refused(root, required[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(of_endorser); i++) {
		json_t *root = sample_list(), *endorser;

		endorser = json_object_get(
			json_object_get(sample_object(root), "hv:endorser"), "hv:x509");
		json_object_del(endorser, of_endorser[i]);
		assert_refused(root, of_endorser[i]);
	}
}

static void an_image_that_lacks_something_is_passed_over(void **state)
{
	static const char *const required[] = {"dc:identifier", "dc:title", "dc:description",
		"hv:size", "hv:uri", "hv:version", "hv:hypervisor", "sl:arch", "sl:checksum:sha512",
		"sl:comments", "sl:os", "sl:osversion"};

	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		json_t *root = sample_list();

		json_object_del(sample_image(root), required[i]);
		assert_passed_over(root, required[i]);
	}
}

static void values_that_cannot_be_are_no_values(void **state)
{
	static const struct {
		const char *key, *value;
	} wrong[] = {
		{"hv:size", "0"},
		{"hv:size", "-1"},
		{"hv:size", "99999999999999999999"},
		{"hv:uri", "https://x/a b"},
		{"sl:checksum:sha512", "abc"},
		{"dc:identifier", "../../etc"},
		{"dc:identifier", ".."},
		{"dc:identifier", "a/b"},
		{"dc:date:expires", "tomorrow"},
		{"hv:ram_minimum", "much"},
	};
	json_t *root = sample_list();

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		json_t *copy = json_deep_copy(root);

		json_object_set_new(sample_image(copy), wrong[i].key, json_string(wrong[i].value));
		assert_passed_over(copy, wrong[i].key);
	}
	json_object_set_new(
		sample_object(root), "dc:date:created", json_string("2026-02-30T00:00:00Z"));
	assert_refused(root, "dc:date:created");
}

static void an_image_is_in_a_list_once(void **state)
{
	json_t *root = sample_list();
	struct imagelist *list AUTO(imagelist_freep) = NULL;

	sample_add(root, "c0482bc2-bf41-5d49-aaaa-a750174a186b", "again");
	sample_add(root, "other", "other");
	list = sample_parse(root);
	json_decref(root);
	assert_int_equal(list->image_count, 2);
	assert_string_equal(list->images[1].identifier, "other");
	assert_ptr_equal(imagelist_find(list, "other"), &list->images[1]);
	assert_int_equal(list->warnings.count, 1);
}

static void the_old_form_is_read_with_a_warning(void **state)
{
	json_t *root = sample_list(), *inner = json_incref(sample_object(root));
	struct imagelist *list AUTO(imagelist_freep) = sample_parse(inner);

	json_decref(inner);
	json_decref(root);
	assert_int_equal(list->image_count, 1);
	assert_int_equal(list->warnings.count, 1);
	assert_non_null(strstr(list->warnings.items[0], "old form"));
}

static void what_is_no_json_is_told_apart(void **state)
{
	static const char *const texts[] = {"", "{", "[1,", "nonsense", "{\"a\":1,\"a\":2}"};
	struct imagelist *list = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(imagelist_parse(texts[i], strlen(texts[i]), &list, NULL), -EPROTO);
	assert_int_equal(imagelist_parse("[]", 2, &list, NULL), -EINVAL);
	assert_int_equal(imagelist_parse("{\"hv:imagelist\":[]}", 20 - 1, &list, NULL), -EINVAL);
	assert_null(list);
}

static void what_is_written_is_read_as_it_was(void **state)
{
	json_t *root = sample_list();
	struct imagelist *list AUTO(imagelist_freep) = NULL, *again AUTO(imagelist_freep) = NULL;
	autofree char *first = NULL, *second = NULL;

	sample_add(root, "other", "other");
	list = sample_parse(root);
	json_decref(root);
	first = imagelist_format(list);
	assert_int_equal(imagelist_parse(first, strlen(first), &again, NULL), 0);
	second = imagelist_format(again);
	assert_string_equal(first, second);
	assert_non_null(strstr(first, "\"dc:date:created\": \"2026-11-01T10:00:00Z\""));
	assert_int_equal(again->image_count, 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_that_is_known_is_read),
		cmocka_unit_test(numbers_may_be_texts_and_texts_numbers),
		cmocka_unit_test(a_list_that_lacks_something_is_refused),
		cmocka_unit_test(an_image_that_lacks_something_is_passed_over),
		cmocka_unit_test(values_that_cannot_be_are_no_values),
		cmocka_unit_test(an_image_is_in_a_list_once),
		cmocka_unit_test(the_old_form_is_read_with_a_warning),
		cmocka_unit_test(what_is_no_json_is_told_apart),
		cmocka_unit_test(what_is_written_is_read_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
