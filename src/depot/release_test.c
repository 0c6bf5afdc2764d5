#include "depot/release.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

#define PART(kind) "{\"digest\":\"" B "\",\"index\":\"" C "\",\"kind\":\"" kind "\",\"size\":4096}"
static const char whole[] =
	"{\"digest\":\"" A "\",\"name\":\"el9\",\"parts\":[" PART("disk") "," PART("kernel") "]}";

static void assert_refused(const char *json, const char *because)
{
	struct release *release = NULL;
	struct error err = {0};

	if (release_parse(json, strlen(json), &release, &err) != -EINVAL)
		fail_msg("accepted: %s", json);
	assert_null(release);
	if (!strstr(err.text, because))
		fail_msg("'%s' does not say '%s'", err.text, because);
}

static void what_is_read_is_written_alike(void **state)
{
	struct release *release AUTO(release_freep) = NULL;
	autofree char *text = NULL;

	assert_int_equal(release_parse(whole, strlen(whole), &release, NULL), 0);
	assert_string_equal(release->digest, A);
	assert_string_equal(release->name, "el9");
	assert_int_equal(release->part_count, 2);
	assert_string_equal(release_get_part(release, IMAGE_KERNEL)->index, C);
	assert_int_equal(release_get_part(release, IMAGE_DISK)->size, 4096);
	assert_null(release_get_part(release, IMAGE_INITRD));
	text = release_format(release);
	assert_string_equal(text, whole);
}

static void a_release_needs_no_name(void **state)
{
	static const char json[] = "{\"digest\":\"" A "\",\"parts\":[" PART("disk") "],\"more\":1}";
	struct release *release AUTO(release_freep) = NULL;

	assert_int_equal(release_parse(json, strlen(json), &release, NULL), 0);
	assert_null(release->name);
}

static void wrong_ones_are_refused(void **state)
{
	static const struct {
		const char *was, *is, *because;
	} changes[] = {
		{"\"el9\"", "\"el9:1\"", "tag"},
		{"\"el9\"", "\"../el9\"", "name"},
		{"\"el9\"", "7", "name"},
		{"\"digest\":\"a", "\"digest\":\"A", "digest"},
		{"\"digest\":\"b", "\"digest\":\"../", "digest"},
		{"\"index\":\"c", "\"x\":\"c", "index"},
		{"\"kind\":\"disk\"", "\"kind\":\"kernel\"", "more than one kernel"},
		{"\"kind\":\"disk\"", "\"kind\":\"initrd\"", "no disk"},
		{"\"kind\":\"disk\"", "\"kind\":\"floppy\"", "kind"},
		{"\"size\":4096", "\"size\":-1", "size"},
		{"\"size\":4096", "\"size\":1099511627777", "size"},
		{"\"size\":4096", "\"size\":1.5", "size"},
		{"\"parts\":[", "\"parts\":7,\"x\":[", "parts"},
		{"\"parts\":[", "\"parts\":[1,", "part 0"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		const char *at = strstr(whole, changes[i].was);
		char json[1024];

		assert_non_null(at);
		snprintf(json, sizeof(json), "%.*s%s%s", (int)(at - whole), whole, changes[i].is,
			at + strlen(changes[i].was));
		assert_refused(json, changes[i].because);
	}
	assert_refused("", "JSON");
	assert_refused("[]", "release");
	assert_refused("{\"digest\":\"" A "\",\"parts\":[]}", "no disk");
}

static void other_parts_than_the_manifests_are_noticed(void **state)
{
	struct release *release AUTO(release_freep) = NULL;
	struct manifest m = {.part_count = 2};
	struct error err = {0};

	assert_int_equal(release_parse(whole, strlen(whole), &release, NULL), 0);
	m.parts[0] = (struct image_part){.kind = IMAGE_DISK, .digest = B, .size = 4096};
	m.parts[1] = (struct image_part){.kind = IMAGE_KERNEL, .digest = B, .size = 4096};
	assert_int_equal(release_check(release, &m, &err), 0);
	m.parts[1].size = 1;
	assert_int_equal(release_check(release, &m, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "kernel"));
	m.parts[1] = (struct image_part){.kind = IMAGE_INITRD, .digest = B, .size = 4096};
	assert_int_equal(release_check(release, &m, &err), -EBADMSG);
	m.part_count = 1;
	assert_int_equal(release_check(release, &m, &err), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_read_is_written_alike),
		cmocka_unit_test(a_release_needs_no_name),
		cmocka_unit_test(wrong_ones_are_refused),
		cmocka_unit_test(other_parts_than_the_manifests_are_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
