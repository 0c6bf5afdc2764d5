#include "controller/image.h"

#include "controller/catalogue.h"
#include "controller/controller.h"
#include "controller/edition.h"
#include "controller/harness_test.h"
#include "controller/specimen_test.h"
#include "lib/timestamp.h"

#define HOUR_US (UINT64_C(3600) * 1000000)

static char digest[DIGEST_HEX_SIZE];
static struct error err;

static int ask(const char *who, const char *method, const char *path, json_t *body)
{
	char request[512];

	snprintf(request, sizeof(request), "%s %s", method, path);
	return harness_ask(who, request, body);
}

static int show(const char *who)
{
	char path[128];

	snprintf(path, sizeof(path), "/v1/images/%s", digest);
	return ask(who, "GET", path, NULL);
}

static int tag(const char *who, const char *reference, const char *of)
{
	char path[256];

	snprintf(path, sizeof(path), "/v1/tags/%s", reference);
	return ask(who, "PUT", path, json_pack("{s:s, s:s}", "digest", of, "reason", "moved"));
}

static json_t *expires_in(uint64_t us)
{
	char text[TIMESTAMP_TEXT_SIZE];

	return json_pack("{s:s, s:s}", "reason", "for a while", "expires",
		timestamp_format(harness_now_us + us, text));
}

static int64_t count_history(const char *action)
{
	char sql[128];

	snprintf(
		sql, sizeof(sql), "SELECT count(*) FROM image_history WHERE action = '%s'", action);
	return harness_count(sql);
}

static void an_image_goes_from_pending_to_approved(void **state)
{
	harness_open(state);
	assert_int_equal(
		ask("endorser:eve", "POST", "/v1/images", specimen_new("el9", 1, digest)), 201);
	assert_string_equal(harness_text("state"), "pending");
	assert_string_equal(harness_text("os"), "Debian 12");
	assert_string_equal(harness_text("parts.0.kind"), "disk");
	assert_int_equal(harness_number("size"), (1 << 20) + 300);
	/* The same request again. */
	assert_int_equal(
		ask("endorser:eve", "POST", "/v1/images", specimen_new("el9", 1, digest)), 200);
	assert_int_equal(specimen_change("root", digest, "approve", NULL), 409);
	assert_non_null(strstr(harness_error(), "nobody has endorsed"));
	assert_int_equal(specimen_change("endorser:eve", digest, "endorse", NULL), 200);
	assert_string_equal(harness_text("state"), "endorsed");
	assert_string_equal(harness_text("endorsed_by"), "eve");
	assert_int_equal(specimen_change("endorser:eve", digest, "endorse", NULL), 200);
	assert_int_equal(specimen_change("endorser:eve", digest, "approve", NULL), 403);
	assert_int_equal(specimen_change("root", digest, "approve", NULL), 200);
	assert_string_equal(harness_text("state"), "approved");
	assert_string_equal(harness_text("reason"), "so it is to be");
	assert_int_equal(specimen_change("root", digest, "approve", NULL), 200);
	assert_int_equal(harness_count("SELECT count(*) FROM image_history"), 3);
	assert_int_equal(
		harness_count("SELECT count(*) FROM event WHERE kind = 'image.approved'"), 1);
	assert_int_equal(show("alice"), 200);
	assert_string_equal(harness_etag(), "3");
}

static void a_change_names_what_it_is_based_on(void **state)
{
	char path[128];

	harness_open(state);
	specimen_publish("el9", 1, false, digest);
	snprintf(path, sizeof(path), "POST /v1/images/%s/approve", digest);
	assert_int_equal(harness_ask("root", path, json_pack("{s:s}", "reason", "r")), 428);
	assert_int_equal(
		harness_ask_match("root", path, "7", json_pack("{s:s}", "reason", "r")), 412);
	assert_int_equal(harness_ask_match("root", path, "1", json_object()), 400);
	assert_int_equal(
		harness_ask_match("root", path, "1", json_pack("{s:s}", "reason", "r")), 200);
}

static void what_is_not_its_manifest_is_no_image(void **state)
{
	static const struct {
		const char *name, *value, *reason;
	} wrong[] = {
		{"digest", "'0000000000000000000000000000000000000000000000000000000000000000'",
			"manifest's SHA-256 is"},
		{"digest", "'../../etc'", "not a SHA-256"},
		{"manifest", "'{}'", "manifest's SHA-256 is"},
		{"parts", "[]", "has 3 parts, not 0"},
		{"parts", "[7]", "a part: not an object"},
		{"parts", "[{'kind':'floppy'}]", "not one of disk|kernel|initrd"},
		{"parts", "[[],[],[],[],[],[],[],[],[]]", "more than 8"},
		{"name", "'El9'", "is not an image's name"},
		{"name", "'el9:x'", "is not an image's name"},
		{"tag", "'../x'", "is not an image's name"},
		{"expires", "'2001-01-01T00:00:00Z'", "has passed"},
		{"state", "'approved'", "not one of"},
	};

	harness_open(state);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		json_t *body = specimen_new("el9", 1, digest);
		char text[160];
		json_t *value;

		snprintf(text, sizeof(text), "{'v':%s}", wrong[i].value);
		value = harness_json(text);
		json_object_set(body, wrong[i].name, json_object_get(value, "v"));
		json_decref(value);
		assert_int_equal(ask("endorser:eve", "POST", "/v1/images", body), 400);
		if (!strstr(harness_error(), wrong[i].reason))
			fail_msg("%s: %s", wrong[i].name, harness_error());
	}
	assert_int_equal(harness_count("SELECT count(*) FROM image"), 0);
	assert_int_equal(harness_count("SELECT count(*) FROM image_history"), 0);
}

static void parts_twice_or_of_another_size_are_refused(void **state)
{
	json_t *body, *parts;

	harness_open(state);
	body = specimen_new("el9", 1, digest);
	parts = json_object_get(body, "parts");
	json_array_set(parts, 2, json_array_get(parts, 1));
	assert_int_equal(ask("endorser:eve", "POST", "/v1/images", body), 400);
	assert_non_null(strstr(harness_error(), "kernel is there twice"));
	body = specimen_new("el9", 1, digest);
	json_object_set_new(
		json_array_get(json_object_get(body, "parts"), 0), "size", json_integer(1));
	assert_int_equal(ask("endorser:eve", "POST", "/v1/images", body), 400);
	assert_non_null(strstr(harness_error(), "disk is not that of its manifest"));
}

static void a_private_image_is_its_owners_alone(void **state)
{
	json_t *body;

	harness_open(state);
	assert_int_equal(ask("alice", "POST", "/v1/images", specimen_new("mine", 1, digest)), 403);
	body = specimen_new("mine", 1, digest);
	json_object_set_new(body, "private", json_true());
	json_object_set_new(body, "tag", json_string("new"));
	assert_int_equal(ask("alice", "POST", "/v1/images", body), 201);
	assert_string_equal(harness_text("state"), "approved");
	assert_int_equal(show("bob"), 404);
	assert_int_equal(show("endorser:eve"), 200);
	assert_int_equal(ask("bob", "GET", "/v1/images", NULL), 200);
	assert_null(harness_get("items.0"));
	assert_int_equal(ask("bob", "GET", "/v1/history", NULL), 200);
	assert_null(harness_get("items.0"));
	assert_int_equal(ask("bob", "GET", "/v1/tags", NULL), 200);
	assert_null(harness_get("items.0"));
	assert_int_equal(ask("bob", "GET", "/v1/events", NULL), 200);
	assert_null(harness_get("items.0"));
	assert_int_equal(ask("bob", "GET", "/v1/catalogue", NULL), 200);
	assert_null(harness_get("images.0"));
	assert_null(harness_get("private_tags.0"));
	assert_int_equal(ask("bob", "GET", "/v1/tags/alice%2Fmine:new", NULL), 404);
	assert_int_equal(specimen_change("bob", digest, "revoke", NULL), 404);
	assert_int_equal(ask("alice", "GET", "/v1/tags/alice%2Fmine:new", NULL), 200);
	assert_string_equal(harness_text("digest"), digest);
	assert_int_equal(ask("alice", "GET", "/v1/events", NULL), 200);
	assert_string_equal(harness_text("items.0.kind"), "image.published");
	/* Of the same content bob learns no more than that it is known. */
	body = specimen_new("other", 1, digest);
	json_object_set_new(body, "private", json_true());
	assert_int_equal(ask("bob", "POST", "/v1/images", body), 409);
	assert_null(strstr(harness_error(), "alice"));
}

static void a_private_image_is_shared_when_it_is_endorsed_and_approved(void **state)
{
	json_t *body;

	harness_open(state);
	body = specimen_new("mine", 1, digest);
	json_object_set_new(body, "private", json_true());
	ask("alice", "POST", "/v1/images", body);
	assert_int_equal(specimen_change("root", digest, "approve", NULL), 409);
	assert_int_equal(specimen_change("endorser:eve", digest, "endorse", NULL), 200);
	/* It stays good for its owner meanwhile. */
	assert_string_equal(harness_text("state"), "approved");
	assert_int_equal(show("bob"), 404);
	assert_int_equal(tag("root", "mine:latest", digest), 409);
	assert_int_equal(specimen_change("root", digest, "approve", NULL), 200);
	assert_int_equal(show("bob"), 200);
	assert_int_equal(tag("root", "mine:latest", digest), 200);
}

static void private_images_have_a_quota(void **state)
{
	char last[DIGEST_HEX_SIZE];

	harness_open(state);
	for (int i = 0; i < 6; i++) {
		json_t *body = specimen_new("mine", i, last);

		json_object_set_new(body, "private", json_true());
		assert_int_equal(ask("alice", "POST", "/v1/images", body), i < 5 ? 201 : 403);
		if (i == 4)
			memcpy(digest, last, sizeof(digest));
	}
	assert_non_null(strstr(harness_error(), "may have 5"));
	assert_int_equal(specimen_change("alice", digest, "expire", NULL), 200);
	assert_string_equal(harness_text("state"), "expired");
	for (int i = 6; i < 8; i++) {
		json_t *body = specimen_new("mine", i, last);

		json_object_set_new(body, "private", json_true());
		assert_int_equal(ask("alice", "POST", "/v1/images", body), i < 7 ? 201 : 403);
	}
}

static void an_image_expires_without_anybody(void **state)
{
	char path[128];

	harness_open(state);
	specimen_publish("el9", 1, false, digest);
	assert_int_equal(specimen_change("root", digest, "approve", expires_in(HOUR_US)), 200);
	harness_now_us += HOUR_US;
	/* Nothing has been written yet. */
	assert_int_equal(show("alice"), 200);
	assert_string_equal(harness_text("state"), "expired");
	assert_int_equal(ask("node:wn1", "GET", "/v1/catalogue", NULL), 200);
	assert_string_equal(harness_text("images.0.state"), "expired");
	assert_null(harness_get("images.0.parts"));
	assert_int_equal(tag("root", "el9:latest", digest), 409);
	assert_int_equal(image_expire_due(harness_db, harness_now_us, &err), 1);
	assert_int_equal(image_expire_due(harness_db, harness_now_us, &err), 0);
	assert_int_equal(count_history("expired"), 1);
	assert_int_equal(harness_count("SELECT count(*) FROM event WHERE kind = 'image.expired'"
				       " AND actor = 'controller'"),
		1);
	assert_int_equal(specimen_change("root", digest, "approve", NULL), 409);
	assert_int_equal(specimen_change("root", digest, "approve", expires_in(HOUR_US)), 200);
	assert_string_equal(harness_text("state"), "approved");
	snprintf(path, sizeof(path), "/v1/images/%s/history?limit=2", digest);
	assert_int_equal(ask("alice", "GET", path, NULL), 200);
	assert_string_equal(harness_text("items.0.action"), "published");
	assert_string_equal(harness_text("items.0.actor"), "user:eve");
	assert_int_equal(harness_number("next"), 2);
}

static void a_time_may_be_set_for_the_end(void **state)
{
	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	assert_int_equal(
		specimen_change("endorser:other", digest, "expire", expires_in(HOUR_US)), 403);
	assert_int_equal(
		specimen_change("endorser:eve", digest, "expire", expires_in(HOUR_US)), 200);
	assert_string_equal(harness_text("state"), "approved");
	assert_int_equal(count_history("limited"), 1);
	assert_int_equal(specimen_change("endorser:eve", digest, "expire", NULL), 200);
	assert_string_equal(harness_text("state"), "expired");
}

static void a_revoked_image_stays_so_and_its_vms_are_listed(void **state)
{
	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	harness_add_node("wn1", "");
	assert_int_equal(
		sql_change(harness_db, &(struct error){0},
			"INSERT INTO vm (id, name, node, state, username, uid, job, image,"
			" digest, cpus, memory_bytes, started, updated) VALUES ('v1', 'x',"
			" 'wn1', 'running', 'bob', 1000, 'slurm.7', 'el9', ?1, 1, 1, 1, 1)",
			sql_text(digest)),
		1);
	assert_int_equal(specimen_change("endorser:eve", digest, "revoke", NULL), 403);
	assert_int_equal(specimen_change("root", digest, "revoke", NULL), 200);
	assert_string_equal(harness_text("state"), "revoked");
	assert_int_equal(harness_number("vm_count"), 1);
	assert_string_equal(harness_text("vms.0.user"), "bob");
	assert_string_equal(harness_text("vms.0.job"), "slurm.7");
	assert_int_equal(specimen_change("root", digest, "revoke", NULL), 200);
	assert_int_equal(count_history("revoked"), 1);
	assert_int_equal(specimen_change("root", digest, "approve", NULL), 409);
	assert_int_equal(specimen_change("root", digest, "expire", NULL), 409);
	assert_int_equal(
		ask("endorser:eve", "POST", "/v1/images", specimen_new("el9", 1, digest)), 200);
	assert_string_equal(harness_text("state"), "revoked");
}

static void a_tag_moves_and_the_old_version_stays(void **state)
{
	char second[DIGEST_HEX_SIZE];

	harness_open(state);
	specimen_publish("el9", 1, true, digest);
	specimen_publish("el9", 2, true, second);
	assert_int_equal(tag("alice", "el9:latest", digest), 403);
	assert_int_equal(tag("endorser:eve", "el9:latest", digest), 403);
	assert_int_equal(tag("root", "el9:latest", digest), 200);
	assert_int_equal(tag("root", "el9:latest", digest), 200);
	assert_int_equal(tag("root", "el9:latest", second), 200);
	assert_string_equal(harness_text("previous"), digest);
	assert_string_equal(harness_etag(), "2");
	assert_int_equal(harness_ask_match("root", "PUT /v1/tags/el9:latest", "1",
				 json_pack("{s:s}", "digest", digest)),
		412);
	assert_int_equal(count_history("tagged"), 2);
	assert_int_equal(ask("node:wn1", "GET", "/v1/catalogue", NULL), 200);
	assert_string_equal(harness_text("tags.0.digest"), second);
	assert_null(harness_get("tags.1"));
	assert_string_equal(harness_text("images.0.state"), "approved");
	assert_string_equal(harness_text("images.1.state"), "approved");
	assert_int_equal(tag("root", "El9:x", digest), 400);
	assert_int_equal(tag("alice", "alice%2Fel9:x", digest), 200);
	assert_int_equal(tag("alice", "bob%2Fel9:x", digest), 403);
	assert_int_equal(ask("root", "DELETE", "/v1/tags/el9:latest?reason=old", NULL), 204);
	assert_int_equal(ask("root", "DELETE", "/v1/tags/el9:latest", NULL), 204);
	assert_int_equal(count_history("untagged"), 1);
}

static void an_image_gets_its_tag_when_it_is_approved(void **state)
{
	json_t *body;

	harness_open(state);
	body = specimen_new("el9", 1, digest);
	json_object_set_new(body, "tag", json_string("2026-11"));
	json_object_set_new(body, "state", json_string("endorsed"));
	assert_int_equal(ask("endorser:eve", "POST", "/v1/images", body), 201);
	assert_int_equal(harness_count("SELECT count(*) FROM image_tag"), 0);
	assert_int_equal(specimen_change("root", digest, "approve", NULL), 200);
	assert_int_equal(ask("alice", "GET", "/v1/tags/el9:2026-11", NULL), 200);
	assert_string_equal(harness_text("digest"), digest);
}

static void who_may_endorse_an_image_publishes_it_as_endorsed(void **state)
{
	static const char *const may[] = {"endorser:eve", "root"};
	json_t *body;

	harness_open(state);
	for (int i = 0; i < 2; i++) {
		body = specimen_new("el9", i, digest);
		json_object_set_new(body, "state", json_string("endorsed"));
		assert_int_equal(ask(may[i], "POST", "/v1/images", body), 201);
		assert_string_equal(harness_text("state"), "endorsed");
	}
	body = specimen_new("el9", 2, digest);
	json_object_set_new(body, "state", json_string("endorsed"));
	assert_int_equal(ask("alice", "POST", "/v1/images", body), 403);
}

static void the_catalogue_is_sent_when_it_has_changed(void **state)
{
	char etag[64];

	harness_open(state);
	assert_int_equal(ask("node:wn1", "GET", "/v1/catalogue", NULL), 200);
	snprintf(etag, sizeof(etag), "%s", harness_etag());
	assert_int_equal(harness_ask_match("node:wn1", "GET /v1/catalogue", etag, NULL), 304);
	specimen_publish("el9", 1, true, digest);
	assert_int_equal(harness_ask_match("node:wn1", "GET /v1/catalogue", etag, NULL), 200);
	assert_string_equal(harness_text("images.0.digest"), digest);
	assert_string_equal(harness_text("images.0.parts.1.kind"), "kernel");
	assert_int_equal(harness_number("images.0.parts.1.size"), 100);
	snprintf(etag, sizeof(etag), "%s", harness_etag());
	assert_int_equal(specimen_change("root", digest, "revoke", NULL), 200);
	assert_int_equal(harness_ask_match("node:wn1", "GET /v1/catalogue", etag, NULL), 200);
	assert_string_equal(harness_text("images.0.state"), "revoked");
	assert_string_equal(harness_text("images.0.by"), "root");
	assert_string_equal(harness_text("images.0.reason"), "so it is to be");
	assert_int_equal(ask("nobody", "GET", "/v1/catalogue", NULL), 401);
}

#define MANY 3000
#define LIVE 20

/* So many images that were revoked or have expired, one each second, and some that are good. */
static void make_many(void)
{
	char name[DIGEST_HEX_SIZE];

	assert_int_equal(sql_begin(harness_db, &err), 0);
	for (int i = 0; i < MANY; i++) {
		const char *state = i < LIVE ? "approved" : i % 2 ? "revoked" : "expired";

		snprintf(name, sizeof(name), "%064x", i + 1);
		assert_true(
			sql_change(harness_db, &err,
				"INSERT INTO image (digest, name, tag, state, private, owner, os, size,"
				" parts_json, published, endorsed_by, endorsed, approved_by, approved,"
				" expires, state_since, changed_by, reason, revision) VALUES (?1, 'el9', '',"
				" ?2, 0, 'eve', '', 1, '[{\"kind\":\"disk\"}]', 1, '', 0, '', 0, 0, ?3,"
				" 'eve', 'a hole', 1)",
				sql_text(name), sql_text(state),
				sql_number((int64_t)1000000 * (i + 1))) > 0);
		assert_true(
			sql_change(harness_db, &err,
				"INSERT INTO image_tag (reference, name, tag, owner, private, digest,"
				" previous, moved, moved_by, revision) VALUES (?1, 'el9', ?1, '', 0, ?1,"
				" NULL, 1, 'eve', 1)",
				sql_text(name)) > 0);
	}
	assert_int_equal(catalogue_touch(harness_db, &err), 0);
	assert_int_equal(sql_commit(harness_db, &err), 0);
}

static void what_has_ended_long_ago_is_a_digest(void **state)
{
	autofree char *text = NULL;
	char last[DIGEST_HEX_SIZE], first[DIGEST_HEX_SIZE];

	harness_open(state);
	make_many();
	assert_int_equal(ask("node:wn1", "GET", "/v1/catalogue", NULL), 200);
	assert_int_equal(json_array_size(harness_get("images")), LIVE + 500);
	assert_non_null(harness_get("images.0.parts"));
	snprintf(last, sizeof(last), "%064x", MANY);
	assert_string_equal(harness_text("images.20.digest"), last);
	assert_string_equal(harness_text("images.20.reason"), "a hole");
	assert_null(harness_get("images.20.parts"));
	assert_int_equal(json_array_size(harness_get("ended.revoked")) +
				 json_array_size(harness_get("ended.expired")),
		MANY - LIVE - 500);
	snprintf(first, sizeof(first), "%064x", LIVE + 1);
	assert_string_equal(json_string_value(json_array_get(harness_get("ended.expired"),
				    json_array_size(harness_get("ended.expired")) - 1)),
		first);
	text = json_dumps(harness_answer(), JSON_COMPACT);
	/* Half of what it would be with all that is known, tags and all. */
	assert_in_range(strlen(text), 100 * MANY, 300 * MANY);
	/* Users see the same. */
	assert_int_equal(ask("alice", "GET", "/v1/catalogue", NULL), 200);
	assert_int_equal(json_array_size(harness_get("images")), LIVE + 500);
}

static void a_site_has_so_many_images_and_no_more(void **state)
{
	json_t *body;

	harness_open(state);
	make_many();
	assert_int_equal(
		sql_change(harness_db, &err, "UPDATE image SET state = 'approved'") > 0, 1);
	body = specimen_new("new", 1, digest);
	assert_int_equal(ask("endorser:eve", "POST", "/v1/images", body), 201);
	sql_change(harness_db, &err,
		"INSERT INTO image SELECT 'f' || digest, name, tag, state, private, owner, os, size,"
		" parts_json, published, endorsed_by, endorsed, approved_by, approved, expires,"
		" state_since, changed_by, reason, revision FROM image");
	body = specimen_new("newer", 2, digest);
	assert_int_equal(ask("endorser:eve", "POST", "/v1/images", body), 409);
	assert_non_null(strstr(harness_error(), "4000"));
	/* What is there already may be said again. */
	body = specimen_new("new", 1, digest);
	assert_int_equal(ask("endorser:eve", "POST", "/v1/images", body), 200);
}

static void nodes_get_the_same_text_and_what_is_staged_for_each(void **state)
{
	harness_open(state);
	harness_controller.editions = editions_new();
	specimen_publish("el9", 1, true, digest);
	assert_int_equal(ask("node:wn1", "GET", "/v1/catalogue", NULL), 200);
	assert_int_equal(json_array_size(harness_get("images")), 1);
	/* Not looked at again, as nothing has changed. */
	sql_change(harness_db, &err, "DELETE FROM image");
	assert_int_equal(ask("node:wn2", "GET", "/v1/catalogue", NULL), 200);
	assert_int_equal(json_array_size(harness_get("images")), 1);
	assert_non_null(harness_get("staged"));
	assert_int_equal(catalogue_touch(harness_db, &err), 0);
	assert_int_equal(ask("node:wn2", "GET", "/v1/catalogue", NULL), 200);
	assert_int_equal(json_array_size(harness_get("images")), 0);
	ask("nobody", "GET", "/nothing", NULL);
	harness_controller.editions = editions_free(harness_controller.editions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HARNESS_TEST(an_image_goes_from_pending_to_approved),
		HARNESS_TEST(a_change_names_what_it_is_based_on),
		HARNESS_TEST(what_is_not_its_manifest_is_no_image),
		HARNESS_TEST(parts_twice_or_of_another_size_are_refused),
		HARNESS_TEST(a_private_image_is_its_owners_alone),
		HARNESS_TEST(a_private_image_is_shared_when_it_is_endorsed_and_approved),
		HARNESS_TEST(private_images_have_a_quota),
		HARNESS_TEST(an_image_expires_without_anybody),
		HARNESS_TEST(a_time_may_be_set_for_the_end),
		HARNESS_TEST(a_revoked_image_stays_so_and_its_vms_are_listed),
		HARNESS_TEST(a_tag_moves_and_the_old_version_stays),
		HARNESS_TEST(an_image_gets_its_tag_when_it_is_approved),
		HARNESS_TEST(who_may_endorse_an_image_publishes_it_as_endorsed),
		HARNESS_TEST(the_catalogue_is_sent_when_it_has_changed),
		HARNESS_TEST(what_has_ended_long_ago_is_a_digest),
		HARNESS_TEST(a_site_has_so_many_images_and_no_more),
		HARNESS_TEST(nodes_get_the_same_text_and_what_is_staged_for_each),
	};

	return HARNESS_RUN(tests);
}
