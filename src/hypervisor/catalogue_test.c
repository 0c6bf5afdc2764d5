#include "hypervisor/catalogue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/path.h"
#include "lib/timestamp.h"

#include <cmocka.h>

#define A "aaaaaaaa00000000000000000000000000000000000000000000000000000000"
#define B "aaaaaaaa11111111111111111111111111111111111111111111111111111111"
#define C "cccccccc00000000000000000000000000000000000000000000000000000000"
#define D "dddddddd00000000000000000000000000000000000000000000000000000000"
#define E "eeeeeeee00000000000000000000000000000000000000000000000000000000"

#define PARTS \
	"\"parts\":[{\"kind\":\"disk\",\"digest\":\"" A "\",\"size\":4096,\"index\":\"" B "\"}]"
#define IMAGE(digest, state, more) \
	"{\"digest\":\"" digest "\",\"name\":\"el9\",\"state\":\"" state "\"," more PARTS "}"
#define TAG(tag, digest)       "{\"name\":\"el9\",\"tag\":\"" tag "\",\"digest\":\"" digest "\"}"
#define DOCUMENT(images, tags) "{\"revision\":7,\"images\":[" images "],\"tags\":[" tags "]}"

static struct catalogue *c;
static struct error err;

static int setup(void **state)
{
	err = (struct error){0};
	return 0;
}

static int teardown(void **state)
{
	c = catalogue_free(c);
	return 0;
}

static int parse(const char *text)
{
	c = catalogue_free(c);
	return catalogue_parse(text, strlen(text), &c, &err);
}

static void load(const char *text)
{
	if (parse(text) < 0)
		fail_msg("%s", err.text);
}

/* "12 digits" of what a reference stands for, "-": nothing, "!": an error. */
static const char *resolve(const char *reference)
{
	static char text[13];
	const struct catalogue_image *image;
	int r = catalogue_resolve(c, reference, "bob", &image, &err);

	snprintf(text, sizeof(text), "%.12s", r > 0 ? image->digest : r == 0 ? "-" : "!");
	return text;
}

static void tag_or_digest_is_found(void **state)
{
	load(DOCUMENT(IMAGE(D, "approved", "") "," IMAGE(A, "revoked", "") "," IMAGE(
			      B, "approved", "") "," IMAGE(C, "approved", ""),
		TAG("old", A) "," TAG("latest", D) "," TAG("lost", E)));
	assert_string_equal(c->revision, "7");
	assert_string_equal(resolve("el9"), "dddddddd0000");
	assert_string_equal(resolve("el9:latest"), "dddddddd0000");
	assert_string_equal(resolve("el9:old"), "aaaaaaaa0000");
	assert_string_equal(resolve("el9:none"), "-");
	assert_string_equal(resolve("el8"), "-");
	assert_string_equal(resolve("el9:lost"), "!");
	assert_string_equal(resolve(C), "cccccccc0000");
	assert_string_equal(resolve("cccccccc"), "cccccccc0000");
	assert_string_equal(resolve("ccccccc"), "-");
	assert_string_equal(resolve("eeeeeeee"), "-");
	assert_string_equal(resolve("aaaaaaaa"), "!");
	assert_string_equal(resolve("aaaaaaaa1"), "aaaaaaaa1111");
	assert_string_equal(catalogue_find_tag(c, A)->tag, "old");
	assert_null(catalogue_find_tag(c, C));
	c = catalogue_free(c);
	assert_string_equal(resolve("el9"), "-");
}

static void what_has_ended_long_ago_starts_not(void **state)
{
	const struct catalogue_image *image;

	load("{\"revision\":\"7\",\"tags\":[],\"images\":[" IMAGE(B, "approved",
		"") "],"
		    "\"ended\":{\"revoked\":[\"" D "\",\"" A "\"],\"approved\":[\"" C "\"]}}");
	assert_int_equal(c->image_count, 4);
	assert_non_null(catalogue_find(c, B));
	image = catalogue_find(c, A);
	assert_non_null(image);
	assert_int_equal(catalogue_decide(image, A, "alice", 1, &err), -EPERM);
	assert_non_null(strstr(err.text, "is revoked; take another"));
	assert_false(catalogue_is_startable(image, 1));
	/* Whatever that may be. */
	assert_false(catalogue_is_startable(catalogue_find(c, C), 1));
	assert_null(catalogue_find_named(c, "", "alice"));
}

static const char *decide(const char *images, const char *user, const char *now)
{
	autofree char *text =
		path_format("{\"revision\":\"x\",\"images\":[%s],\"tags\":[]}", images);
	uint64_t now_us;

	load(text);
	assert_int_equal(timestamp_parse(now, &now_us), 0);
	err = (struct error){0};
	if (catalogue_decide(&c->images[0], "el9:new", user, now_us, &err) == 0)
		return "starts";
	assert_int_equal(err.code, -EPERM);
	return err.text;
}

static void only_what_is_approved_and_not_expired_starts(void **state)
{
#define EXPIRES "\"expires\":\"2026-12-01T00:00:00Z\","
	static const struct {
		const char *image, *now, *said;
	} rows[] = {
		{IMAGE(A, "approved", ""), "2026-11-30T00:00:00Z", "starts"},
		{IMAGE(A, "approved", EXPIRES), "2026-11-30T23:59:59Z", "starts"},
		{IMAGE(A, "approved", EXPIRES), "2026-12-01T00:00:00Z",
			"has expired at 2026-12-01"},
		{IMAGE(A, "pending", ""), "2026-11-30T00:00:00Z", "was not approved yet; ask"},
		{IMAGE(A, "endorsed", ""), "2026-11-30T00:00:00Z", "is endorsed, and was not"},
		{IMAGE(A, "expired", ""), "2026-11-30T00:00:00Z", "is expired; take another"},
		{IMAGE(A, "quarantined", ""), "2026-11-30T00:00:00Z",
			"does not know; take another"},
		{IMAGE(A, "revoked",
			 "\"since\":\"2026-11-29T10:00:00Z\",\"by\":\"alice\",\"reason\":\"a\\nhole\","),
			"2026-11-30T00:00:00Z",
			"'el9:new' (aaaaaaaa0000) is revoked since 2026-11-29T10:00:00.000000Z, by "
			"alice: a hole; take another"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *said = decide(rows[i].image, "bob", rows[i].now);

		if (!strstr(said, rows[i].said))
			fail_msg("%zu: '%s' does not say '%s'", i, said, rows[i].said);
	}
}

static void private_one_starts_for_its_owner_alone(void **state)
{
#define OWN "\"private\":true,\"owner\":\"bob\","
	static const char now[] = "2026-11-30T00:00:00Z";

	assert_string_equal(decide(IMAGE(A, "pending", OWN), "bob", now), "starts");
	assert_string_equal(decide(IMAGE(A, "approved", OWN), "bob", now), "starts");
	assert_non_null(strstr(decide(IMAGE(A, "approved", OWN), "alice", now), "another user's"));
	assert_non_null(strstr(decide(IMAGE(A, "approved", OWN), NULL, now), "another user's"));
	assert_non_null(strstr(decide(IMAGE(A, "revoked", OWN), "bob", now), "is revoked"));
	assert_non_null(strstr(decide(IMAGE(A, "approved", "\"private\":true,"), "", now), "own"));
	assert_true(catalogue_is_startable(&c->images[0], 0));
}

static void what_is_not_as_it_should_be_is_refused_whole(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"revision\":7,\"images\":[],\"tags\":{}}",
		"{\"revision\":\"\",\"images\":[],\"tags\":[]}",
		"{\"images\":[],\"tags\":[]}",
		"{\"revision\":7,\"images\":[],\"tags\":[],\"staged\":[\"x\"]}",
		DOCUMENT("7", ""),
		DOCUMENT(IMAGE("x", "approved", ""), ""),
		DOCUMENT(IMAGE(A, "approved", "") "," IMAGE(A, "revoked", ""), ""),
		DOCUMENT(IMAGE(A, "approved", "\"expires\":\"soon\","), ""),
		DOCUMENT(IMAGE(A, "approved", "\"expires\":7,"), ""),
		DOCUMENT(IMAGE(A, "approved", "\"private\":\"yes\","), ""),
		DOCUMENT("{\"digest\":\"" A "\",\"name\":\"../x\",\"state\":\"approved\"," PARTS
			 "}",
			""),
		DOCUMENT("{\"digest\":\"" A
			 "\",\"name\":\"x\",\"state\":\"approved\",\"parts\":[{}]}",
			""),
		"{\"revision\":7,\"images\":[],\"tags\":[],\"ended\":{\"revoked\":[\"x\"]}}",
		"{\"revision\":7,\"images\":[],\"tags\":[],\"ended\":[\"" A "\"]}",
		"{\"revision\":7,\"images\":[],\"tags\":[],\"ended\":{\"revoked\":[\"" A "\",\"" A
		"\"]}}",
		DOCUMENT("", TAG("a b", A)),
		DOCUMENT("", TAG("a:b", A)),
		DOCUMENT("", TAG("a", "b")),
		DOCUMENT("", TAG("a", A) "," TAG("a", B)),
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse(bad[i]) == 0)
			fail_msg("'%s' is taken", bad[i]);
		else
			assert_non_null(strstr(err.text, "catalogue"));
}

static void own_names_are_for_their_owner_and_come_last(void **state)
{
#define OWNED(owner, tag, digest) \
	"{\"owner\":\"" owner "\",\"name\":\"el9\",\"tag\":\"" tag "\",\"digest\":\"" digest "\"}"
	load("{\"revision\":1,\"images\":[" IMAGE(A, "approved", "") "," IMAGE(B, "approved",
		"") "],"
		    "\"tags\":[" TAG("one", A) "],\"private_tags\":[" OWNED(
			    "bob", "one", B) "," OWNED("bob", "two", B) "," OWNED("alice", "two",
			    A) "," OWNED("alice", "three", A) "]}");
	assert_string_equal(resolve("el9:one"), "aaaaaaaa0000");
	assert_string_equal(resolve("el9:two"), "aaaaaaaa1111");
	assert_string_equal(resolve("el9:three"), "-");
}

static void what_has_no_tag_yet_is_known_by_its_name(void **state)
{
	load(DOCUMENT(
		IMAGE(A, "revoked", "\"since\":\"2026-11-01T00:00:00Z\",") "," IMAGE(
			B, "pending", "\"since\":\"2026-11-02T00:00:00Z\",") "," IMAGE(C, "pending",
			"\"private\":true,\"owner\":\"alice\",\"since\":\"2026-11-03T00:00:00Z\","),
		""));
	assert_string_equal(catalogue_find_named(c, "el9:2026", "bob")->digest, B);
	assert_string_equal(catalogue_find_named(c, "el9", "alice")->digest, C);
	assert_null(catalogue_find_named(c, "el", "bob"));
	assert_null(catalogue_find_named(c, "el99", "bob"));
	assert_null(catalogue_find_named(NULL, "el9", "bob"));
}

static void whole_one_is_taken(void **state)
{
	load("{\"revision\":\"r\",\"new\":{},\"images\":[" IMAGE(A, "approved",
		"\"expires\":null,") "],"
				     "\"tags\":[],\"staged\":[\"" A "\",\"" B "\"]}");
	assert_int_equal(c->staged_count, 2);
	assert_string_equal(c->staged[1], B);
	assert_int_equal(c->images[0].part_count, 1);
	assert_int_equal(c->images[0].parts[0].part.size, 4096);
	assert_string_equal(c->images[0].parts[0].index, B);
	load(DOCUMENT("", ""));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(tag_or_digest_is_found),
		EACH(what_has_no_tag_yet_is_known_by_its_name),
		EACH(only_what_is_approved_and_not_expired_starts),
		EACH(private_one_starts_for_its_owner_alone),
		EACH(what_is_not_as_it_should_be_is_refused_whole),
		EACH(what_has_ended_long_ago_starts_not),
		EACH(own_names_are_for_their_owner_and_come_last),
		EACH(whole_one_is_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
