#include "controller/specimen_test.h"

#include <stdio.h>

#include "controller/harness_test.h"

static void make_digest(const char *what, int number, char ret[DIGEST_HEX_SIZE])
{
	char text[64];

	snprintf(text, sizeof(text), "%s %d", what, number);
	assert_int_equal(digest_bytes(text, strlen(text), ret), 0);
}

static json_t *part_to_json(const struct image_part *part, const char *index)
{
	static const char *const kinds[] = {
		[IMAGE_DISK] = "disk", [IMAGE_KERNEL] = "kernel", [IMAGE_INITRD] = "initrd"};

	return json_pack("{s:s, s:s, s:I, s:s}", "kind", kinds[part->kind], "digest", part->digest,
		"size", (json_int_t)part->size, "index", index);
}

json_t *specimen_of(const char *name, const struct image_part parts[3],
	char indexes[3][DIGEST_HEX_SIZE], char digest[DIGEST_HEX_SIZE])
{
	struct manifest m = {
		.format = (char[]){"raw"},
		.architecture = (char[]){"x86_64"},
		.boot = IMAGE_BOOT_KERNEL,
		.agent = IMAGE_AGENT_BUILTIN,
		.command_line = (char[]){"quiet"},
		.agent_version = (char[]){"1"},
		.os = (char[]){"Debian 12"},
		.origin = (char[]){"a test"},
		.created = 1,
		.min_memory_mib = 64,
		.min_cpus = 1,
		.disk_size = 1 << 20,
		.parts = {parts[0], parts[1], parts[2]},
		.part_count = 3,
	};
	autofree char *text = manifest_format(&m);

	assert_non_null(text);
	assert_int_equal(digest_bytes(text, strlen(text), digest), 0);
	return json_pack("{s:s, s:s, s:s, s:[o,o,o], s:s}", "digest", digest, "name", name,
		"manifest", text, "parts", part_to_json(&parts[0], indexes[0]),
		part_to_json(&parts[1], indexes[1]), part_to_json(&parts[2], indexes[2]), "reason",
		"it is new");
}

json_t *specimen_new(const char *name, int number, char digest[DIGEST_HEX_SIZE])
{
	struct image_part parts[] = {{.kind = IMAGE_DISK, .size = 1 << 20},
		{.kind = IMAGE_KERNEL, .size = 100}, {.kind = IMAGE_INITRD, .size = 200}};
	char indexes[3][DIGEST_HEX_SIZE];

	make_digest("disk", number, parts[0].digest);
	make_digest("kernel", 0, parts[1].digest);
	make_digest("initrd", 0, parts[2].digest);
	for (int i = 0; i < 3; i++)
		make_digest("index", i, indexes[i]);
	return specimen_of(name, parts, indexes, digest);
}

void specimen_publish(const char *name, int number, bool approved, char digest[DIGEST_HEX_SIZE])
{
	json_t *body = specimen_new(name, number, digest);

	json_object_set_new(body, "state", json_string("endorsed"));
	assert_int_equal(harness_ask("endorser:eve", "POST /v1/images", body), 201);
	if (approved)
		assert_int_equal(specimen_change("root", digest, "approve", NULL), 200);
}

int specimen_change(const char *who, const char *digest, const char *verb, json_t *body)
{
	char request[160];

	snprintf(request, sizeof(request), "POST /v1/images/%s/%s", digest, verb);
	return harness_ask_match(
		who, request, "*", body ? body : json_pack("{s:s}", "reason", "so it is to be"));
}
