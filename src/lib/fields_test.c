#include "lib/fields.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ID "00000000-0000-4000-8000-000000000001"

struct thing {
	char name[8], note[8], id[37], kind[8];
	char digest[65];
	uint64_t size, at;
	bool on, off, note_given;
	json_t *more, *items;
	const char *text;
};

static int check_name(const char *text, struct error *err)
{
	return streq(text, "bad") ? (fail)(err, -EINVAL, "is no name") : 0;
}

#define AT(member) offsetof(struct thing, member)

static const struct field table[] = {
	{"name", FIELD_TEXT, AT(name), .max = 8, .required = true, .help = "Its name.",
		.check = check_name},
	{"note", FIELD_TEXT, AT(note), .max = 8, .given = AT(note_given)},
	{"id", FIELD_ID, AT(id)},
	{"kind", FIELD_WORD, AT(kind), .words = "one|two"},
	{"digest", FIELD_DIGEST, AT(digest)},
	{"size", FIELD_NUMBER, AT(size), 1, 10},
	{"at", FIELD_TIME, AT(at)},
	{"on", FIELD_BOOL, AT(on)},
	{"wait", FIELD_NOT, AT(off)},
	{"more", FIELD_OBJECT, AT(more)},
	{"items", FIELD_LIST, AT(items), .max = 2},
	{"text", FIELD_LINES, AT(text), .max = 12},
	{NULL},
};

static int parse(json_t *json, struct thing *ret)
{
	struct error err = {0};
	int r;

	*ret = (struct thing){0};
	assert_non_null(json);
	r = fields_parse(table, json, ret, &err);
	assert_true(r == 0 || (r == -EINVAL && err.text[0]));
	return r;
}

static void members_go_where_the_table_says(void **state)
{
	json_t *json = json_loads("{\"name\":\"a\\tb\",\"id\":\"" ID "\",\"kind\":\"two\","
				  "\"size\":10,\"at\":\"1970-01-01T00:00:01Z\",\"on\":true,"
				  "\"wait\":false,\"more\":{},\"items\":[1,2],\"newer\":7,"
				  "\"text\":\"a\\n\\tb\\n\",\"note\":\"x\"}",
		0, NULL);
	struct thing t;

	assert_int_equal(parse(json, &t), 0);
	assert_string_equal(t.name, "a b");
	assert_string_equal(t.id, ID);
	assert_string_equal(t.kind, "two");
	assert_int_equal(t.size, 10);
	assert_int_equal(t.at, 1000000);
	assert_true(t.on && t.off && t.note_given);
	assert_ptr_equal(t.more, json_object_get(json, "more"));
	assert_int_equal(json_array_size(t.items), 2);
	assert_string_equal(t.text, "a\n\tb\n");
	json_decref(json);
}

static void null_is_not_there_and_a_text_may_be_taken_back(void **state)
{
	json_t *json = json_loads("{\"name\":\"x\",\"note\":null,\"size\":null}", 0, NULL);
	struct thing t;

	assert_int_equal(parse(json, &t), 0);
	assert_false(t.note_given);
	json_object_set_new(json, "note", json_string(""));
	assert_int_equal(parse(json, &t), 0);
	assert_true(t.note_given);
	assert_string_equal(t.note, "");
	json_decref(json);
}

static void wrong_members_are_refused(void **state)
{
	static const char *const wrong[] = {
		"[]",
		"\"x\"",
		"{}",
		"{\"name\":\"\"}",
		"{\"name\":null}",
		"{\"name\":7}",
		"{\"name\":\"bad\"}",
		"{\"name\":\"12345678\"}",
		"{\"name\":\"x\",\"id\":\"../x\"}",
		"{\"name\":\"x\",\"kind\":\"one|two\"}",
		"{\"name\":\"x\",\"kind\":\"\"}",
		"{\"name\":\"x\",\"digest\":\"00\"}",
		"{\"name\":\"x\",\"size\":0}",
		"{\"name\":\"x\",\"size\":11}",
		"{\"name\":\"x\",\"size\":1.0}",
		"{\"name\":\"x\",\"at\":\"yesterday\"}",
		"{\"name\":\"x\",\"at\":1}",
		"{\"name\":\"x\",\"on\":1}",
		"{\"name\":\"x\",\"more\":[]}",
		"{\"name\":\"x\",\"items\":{}}",
		"{\"name\":\"x\",\"items\":[1,2,3]}",
		"{\"name\":\"x\",\"text\":\"1234567890123\"}",
		"{\"name\":\"x\",\"text\":\"\\u001b[2J\"}",
	};
	struct thing t;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		json_t *json = json_loads(wrong[i], JSON_DECODE_ANY, NULL);

		if (parse(json, &t) != -EINVAL)
			fail_msg("not refused: %s", wrong[i]);
		json_decref(json);
	}
}

static const char *schema_text(const json_t *schema, const char *name, const char *key)
{
	return json_string_value(
		json_object_get(json_object_get(json_object_get(schema, "properties"), name), key));
}

static void the_table_is_published(void **state)
{
	json_t *schema = fields_to_schema(table), *size;

	assert_non_null(schema);
	assert_int_equal(json_array_size(json_object_get(schema, "required")), 1);
	assert_string_equal(schema_text(schema, "name", "description"), "Its name.");
	assert_string_equal(schema_text(schema, "at", "format"), "date-time");
	assert_string_equal(schema_text(schema, "items", "type"), "array");
	for (const struct field *row = table; row->name; row++)
		assert_non_null(schema_text(schema, row->name, "type"));
	size = json_object_get(json_object_get(schema, "properties"), "size");
	assert_int_equal(json_integer_value(json_object_get(size, "maximum")), 10);
	json_decref(schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_go_where_the_table_says),
		cmocka_unit_test(null_is_not_there_and_a_text_may_be_taken_back),
		cmocka_unit_test(wrong_members_are_refused),
		cmocka_unit_test(the_table_is_published),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
