#include "image/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define HEAD                                                                                   \
	"{\"version\":1,\"format\":\"raw\",\"architecture\":\"x86_64\",\"agent\":\"builtin\"," \
	"\"created\":1700000000,\"min_memory_mib\":256,\"min_cpus\":1,\"disk_size\":1048576,"
#define DISK   "{\"kind\":\"disk\",\"digest\":\"" HEX "\",\"size\":4096}"
#define KERNEL "{\"kind\":\"kernel\",\"digest\":\"" HEX "\",\"size\":1}"
#define INITRD "{\"kind\":\"initrd\",\"digest\":\"" HEX "\",\"size\":1}"

static const char from_disk[] = HEAD "\"boot\":\"disk\",\"parts\":[" DISK "]}";
static const char from_kernel[] =
	HEAD "\"boot\":\"kernel\",\"command_line\":\"quiet\",\"agent_version\":\"0.1.0\","
	     "\"os\":\"Debian \\u00e9\",\"origin\":\"a recipe\",\"gateways\":[\"9p\",\"virtiofs\"],"
	     "\"unknown\":[1,{}],\"parts\":[" DISK "," KERNEL "," INITRD "]}";

static struct manifest *parse(const char *json)
{
	struct manifest *m = NULL;
	struct error err = {0};

	if (manifest_parse(json, strlen(json), &m, &err) < 0)
		fail_msg("%s: %s", json, err.text);
	return m;
}

static void assert_refused(const char *json, const char *because)
{
	struct manifest *m = NULL;
	struct error err = {0};

	if (manifest_parse(json, strlen(json), &m, &err) != -EINVAL)
		fail_msg("accepted: %s", json);
	if (!strstr(err.text, because))
		fail_msg("'%s' does not say '%s'", err.text, because);
	assert_null(m);
}

static void all_members_are_read(void **state)
{
	struct manifest *m AUTO(manifest_freep) = parse(from_kernel);

	assert_string_equal(m->format, "raw");
	assert_string_equal(m->architecture, "x86_64");
	assert_int_equal(m->boot, IMAGE_BOOT_KERNEL);
	assert_int_equal(m->agent, IMAGE_AGENT_BUILTIN);
	assert_string_equal(m->command_line, "quiet");
	assert_string_equal(m->agent_version, "0.1.0");
	assert_string_equal(m->os, "Debian \xc3\xa9");
	assert_string_equal(m->origin, "a recipe");
	assert_int_equal(m->created, 1700000000);
	assert_int_equal(m->min_memory_mib, 256);
	assert_int_equal(m->min_cpus, 1);
	assert_int_equal(m->disk_size, 1048576);
	assert_int_equal(m->part_count, 3);
	assert_string_equal(manifest_part(m, IMAGE_INITRD)->digest, HEX);
	assert_int_equal(manifest_part(m, IMAGE_DISK)->size, 4096);
	assert_true(manifest_has_gateway(m, "virtiofs"));
	assert_false(manifest_has_gateway(m, "nfs"));
}

static void what_is_not_known_stays_unknown(void **state)
{
	struct manifest *m AUTO(manifest_freep) = parse(from_disk);

	assert_null(m->gateways);
	assert_null(m->os);
	assert_null(m->command_line);
	assert_null(manifest_part(m, IMAGE_KERNEL));
	assert_false(manifest_has_gateway(m, "9p"));
}

static void an_empty_list_of_gateways_is_not_an_unknown_one(void **state)
{
	struct manifest *m AUTO(manifest_freep) =
		parse(HEAD "\"boot\":\"disk\",\"gateways\":[],\"parts\":[" DISK "]}");
	autofree char *text = manifest_format(m);
	struct manifest *again AUTO(manifest_freep) = parse(text);

	assert_non_null(again->gateways);
	assert_null(again->gateways[0]);
}

/* The digest of a manifest is the image's name: the same image must always be written alike. */
static void writing_what_was_read_gives_the_same_bytes(void **state)
{
	struct manifest *m AUTO(manifest_freep) = parse(from_kernel);
	autofree char *text = manifest_format(m);
	struct manifest *n AUTO(manifest_freep) = parse(text);
	autofree char *again = manifest_format(n);

	assert_string_equal(text, again);
	assert_null(strchr(text, '\n'));
	assert_true(strstr(text, "\"agent\"") < strstr(text, "\"version\""));
}

static void parts_must_fit_the_way_of_booting(void **state)
{
	assert_refused(HEAD "\"boot\":\"disk\",\"parts\":[]}", "no disk");
	assert_refused(HEAD "\"boot\":\"disk\",\"parts\":[" DISK "," KERNEL "]}", "kernel");
	assert_refused(HEAD "\"boot\":\"kernel\",\"parts\":[" DISK "," KERNEL "," INITRD "]}",
		"command line");
	assert_refused(HEAD "\"boot\":\"kernel\",\"command_line\":\"q\",\"parts\":[" DISK "," KERNEL
			    "]}",
		"initrd");
	assert_refused(HEAD "\"boot\":\"disk\",\"parts\":[" DISK "," DISK "]}", "more than one");
}

static void members_of_the_wrong_kind_are_refused(void **state)
{
	static const struct {
		const char *was, *is, *because;
	} changes[] = {
		{"\"version\":1", "\"version\":2", "newer"},
		{"\"version\":1", "\"version\":0", "version"},
		{"\"version\":1", "\"version\":\"1\"", "version"},
		{"\"format\":\"raw\"", "\"format\":\"vmdk\"", "vmdk"},
		{"\"format\":\"raw\"", "\"format\":7", "format"},
		{"\"format\":\"raw\",", "", "format"},
		{"\"architecture\":\"x86_64\"", "\"architecture\":\"x\\u0007\"", "architecture"},
		{"\"architecture\":\"x86_64\"", "\"architecture\":\"x\\u0085\"", "architecture"},
		{"\"created\":1700000000", "\"created\":-1", "created"},
		{"\"created\":1700000000", "\"created\":1.5", "created"},
		{"\"disk_size\":1048576", "\"disk_size\":0", "disk_size"},
		{"\"disk_size\":1048576", "\"disk_size\":9223372036854775807", "disk_size"},
		{"\"disk_size\":1048576", "\"disk_size\":2048", "larger than the disk"},
		{"\"agent\":\"builtin\"", "\"agent\":\"none\"", "agent"},
		{"\"boot\":\"disk\"", "\"boot\":\"pxe\"", "boot"},
		{"\"boot\":\"disk\"", "\"boot\":\"disk\",\"gateways\":\"9p\"", "gateways"},
		{"\"boot\":\"disk\"", "\"boot\":\"disk\",\"gateways\":[\"a b\"]", "gateway 0"},
		{"\"boot\":\"disk\"", "\"boot\":\"disk\",\"gateways\":[\"9p\",1]", "gateway 1"},
		{"\"boot\":\"disk\"", "\"boot\":\"disk\",\"boot\":\"disk\"", "JSON"},
		{"\"kind\":\"disk\"", "\"kind\":\"../x\"", "kind"},
		{"\"digest\":\"0", "\"digest\":\"F", "SHA-256"},
		{"\"digest\":\"0", "\"digest\":\"", "SHA-256"},
		{"\"digest\":\"0", "\"digest\":\"../../0", "SHA-256"},
		{"\"size\":4096", "\"size\":-4096", "size"},
		{"\"parts\":[", "\"parts\":[[],", "kind"},
		{"\"parts\":[", "\"parts\":null,\"x\":[", "parts"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		const char *at = strstr(from_disk, changes[i].was);
		char json[1024];

		assert_non_null(at);
		snprintf(json, sizeof(json), "%.*s%s%s", (int)(at - from_disk), from_disk,
			changes[i].is, at + strlen(changes[i].was));
		assert_refused(json, changes[i].because);
	}
}

static void what_is_no_json_object_is_refused(void **state)
{
	static const char *const texts[] = {"", " ", "{", "[]", "null", "1", "{}x", "{\"a\":}",
		"\xff\xfe", "[[[[[[[[[[", "{\"version\":1}"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_refused(texts[i], "manifest");
}

/* Every beginning of a manifest, and every manifest with one byte changed, is refused or accepted,
 * but never more than that (run under the sanitizers). */
static void damaged_manifests_do_no_harm(void **state)
{
	char json[sizeof(from_kernel)];

	for (size_t i = 0; i < sizeof(from_kernel) - 1; i++) {
		struct manifest *m = NULL, *n = NULL;

		assert_int_equal(manifest_parse(from_kernel, i, &m, NULL), -EINVAL);
		for (int bit = 0; bit < 8; bit++) {
			memcpy(json, from_kernel, sizeof(json));
			json[i] = (char)(json[i] ^ 1 << bit);
			if (manifest_parse(json, sizeof(json) - 1, &n, NULL) == 0)
				n = manifest_free(n);
		}
	}
}

static void too_large_a_manifest_is_refused_unread(void **state)
{
	size_t length = MANIFEST_BYTES_MAX + 1;
	autofree char *text = malloc(length);
	struct manifest *m = NULL;

	memset(text, ' ', length);
	assert_int_equal(manifest_parse(text, length, &m, NULL), -EINVAL);
}

static void cleaned_text_is_accepted(void **state)
{
	struct manifest *m AUTO(manifest_freep) = parse(from_disk);
	struct manifest *again AUTO(manifest_freep) = NULL;
	char wild[3000];
	autofree char *json = NULL;

	for (size_t i = 0; i < sizeof(wild) - 1; i++)
		wild[i] = (char)(i % 255 + 1);
	wild[sizeof(wild) - 1] = '\0';
	m->origin = manifest_clean_text(wild);
	json = manifest_format(m);
	again = parse(json);
	assert_string_equal(again->origin, m->origin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_members_are_read),
		cmocka_unit_test(what_is_not_known_stays_unknown),
		cmocka_unit_test(an_empty_list_of_gateways_is_not_an_unknown_one),
		cmocka_unit_test(writing_what_was_read_gives_the_same_bytes),
		cmocka_unit_test(parts_must_fit_the_way_of_booting),
		cmocka_unit_test(members_of_the_wrong_kind_are_refused),
		cmocka_unit_test(what_is_no_json_object_is_refused),
		cmocka_unit_test(damaged_manifests_do_no_harm),
		cmocka_unit_test(too_large_a_manifest_is_refused_unread),
		cmocka_unit_test(cleaned_text_is_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
