#include "depot/release.h"

#include <errno.h>

#include "image/store.h"
#include "lib/fields.h"

#define RELEASE_NAME_MAX 65

struct raw_release {
	char digest[DIGEST_HEX_SIZE];
	char name[RELEASE_NAME_MAX];
	json_t *parts;
};

struct raw_part {
	char kind[8];
	char digest[DIGEST_HEX_SIZE];
	uint64_t size;
	char index[DIGEST_HEX_SIZE];
};

static int name_check(const char *text, struct error *err)
{
	autofree char *name = NULL, *tag = NULL;

	if (strchr(text, ':'))
		return fail(err, -EINVAL, "'%s' is no name without a tag", text);
	return *text ? store_parse_reference(text, &name, &tag, err) : 0;
}

static const struct field release_fields[] = {
	{.name = "digest",
		.type = FIELD_DIGEST,
		.offset = offsetof(struct raw_release, digest),
		.required = true,
		.help = "The image: its manifest's SHA-256"},
	{.name = "name",
		.type = FIELD_TEXT,
		.offset = offsetof(struct raw_release, name),
		.max = RELEASE_NAME_MAX,
		.check = name_check,
		.help = "What it is called"},
	{.name = "parts",
		.type = FIELD_LIST,
		.offset = offsetof(struct raw_release, parts),
		.max = MANIFEST_PARTS_MAX,
		.required = true,
		.help = "Its files"},
	{.name = NULL},
};

static const struct field part_fields[] = {
	{.name = "kind",
		.type = FIELD_WORD,
		.offset = offsetof(struct raw_part, kind),
		.max = sizeof(((struct raw_part *)NULL)->kind),
		.words = "disk|kernel|initrd",
		.required = true,
		.help = "What it is for"},
	{.name = "digest",
		.type = FIELD_DIGEST,
		.offset = offsetof(struct raw_part, digest),
		.required = true,
		.help = "The file's SHA-256"},
	{.name = "size",
		.type = FIELD_NUMBER,
		.offset = offsetof(struct raw_part, size),
		.max = CAIBX_SIZE_MAX,
		.required = true,
		.help = "The file's size in bytes"},
	{.name = "index",
		.type = FIELD_DIGEST,
		.offset = offsetof(struct raw_part, index),
		.required = true,
		.help = "The SHA-256 of the file's index"},
	{.name = NULL},
};

static int load_part(struct release *release, json_t *object, struct error *err)
{
	struct release_part *part = &release->parts[release->part_count];
	struct raw_part raw = {0};
	int r = fields_parse(part_fields, object, &raw, err);

	if (r < 0)
		return fail_within(err, "part %zu", release->part_count);
	r = manifest_kind_parse(raw.kind);
	if (r < 0)
		return fail(err, -EINVAL, "part %zu: no kind '%s'", release->part_count, raw.kind);
	part->kind = (enum image_part_kind)r;
	if (release_get_part(release, part->kind))
		return fail(err, -EINVAL, "more than one %s", raw.kind);
	part->size = raw.size;
	memcpy(part->digest, raw.digest, sizeof(part->digest));
	memcpy(part->index, raw.index, sizeof(part->index));
	release->part_count++;
	return 0;
}

int release_from_json(json_t *object, struct release **ret, struct error *err)
{
	struct release *release AUTO(release_freep) = calloc(1, sizeof(*release));
	struct raw_release raw = {0};
	int r;

	if (!release)
		return fail(err, -ENOMEM, "out of memory");
	r = fields_parse(release_fields, object, &raw, err);
	for (size_t i = 0; r >= 0 && i < json_array_size(raw.parts); i++)
		r = load_part(release, json_array_get(raw.parts, i), err);
	if (r < 0)
		return r;
	if (!release_get_part(release, IMAGE_DISK))
		return fail(err, -EINVAL, "parts: no disk");
	memcpy(release->digest, raw.digest, sizeof(release->digest));
	if (raw.name[0]) {
		release->name = strdup(raw.name);
		if (!release->name)
			return fail(err, -ENOMEM, "out of memory");
	}
	*ret = TAKE_PTR(release);
	return 0;
}

int release_parse(const char *json, size_t length, struct release **ret, struct error *err)
{
	json_error_t why;
	json_t *root;
	int r;

	if (length > RELEASE_BYTES_MAX)
		return fail(err, -EINVAL, "release: larger than %d bytes", RELEASE_BYTES_MAX);
	root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return fail(err, -EINVAL, "release: not JSON: line %d: %s", why.line, why.text);
	r = release_from_json(root, ret, err);
	json_decref(root);
	return r < 0 ? fail_within(err, "release") : 0;
}

json_t *release_to_json(const struct release *release)
{
	json_t *parts = json_array();
	json_t *root = json_pack("{s:s, s:o}", "digest", release->digest, "parts", parts);

	for (size_t i = 0; i < release->part_count; i++) {
		const struct release_part *p = &release->parts[i];

		json_array_append_new(
			parts, json_pack("{s:s, s:s, s:I, s:s}", "kind",
				       manifest_kind_name(p->kind), "digest", p->digest, "size",
				       (json_int_t)p->size, "index", p->index));
	}
	if (root && release->name)
		json_object_set_new(root, "name", json_string(release->name));
	return root;
}

char *release_format(const struct release *release)
{
	json_t *root = release_to_json(release);
	char *text = root ? json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT) : NULL;

	json_decref(root);
	return text;
}

static int load_index(const struct depot *d, const struct image_part *from, struct release_part *to,
	struct error *err)
{
	struct caibx *x AUTO(caibx_freep) = NULL;
	int r = depot_get_index(d, from->digest, NULL, &x, to->index, err);

	if (r < 0)
		return r;
	if (x->size != from->size)
		return fail(err, -EBADMSG, "the index of %s is of another size than the %s",
			from->digest, manifest_kind_name(from->kind));
	to->kind = from->kind;
	to->size = from->size;
	memcpy(to->digest, from->digest, sizeof(to->digest));
	return 0;
}

int release_load(const struct depot *d, const char *digest, const char *name, struct release **ret,
	struct error *err)
{
	struct release *release AUTO(release_freep) = calloc(1, sizeof(*release));
	struct manifest *m AUTO(manifest_freep) = NULL;
	int r = depot_get_manifest(d, digest, &m, NULL, err);

	if (r < 0)
		return r;
	if (release && name)
		release->name = strdup(name);
	if (!release || (name && !release->name))
		return fail(err, -ENOMEM, "out of memory");
	memcpy(release->digest, digest, sizeof(release->digest));
	for (; r >= 0 && release->part_count < m->part_count; release->part_count++)
		r = load_index(d, &m->parts[release->part_count],
			&release->parts[release->part_count], err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(release);
	return 0;
}

const struct release_part *release_get_part(
	const struct release *release, enum image_part_kind kind)
{
	for (size_t i = 0; i < release->part_count; i++)
		if (release->parts[i].kind == kind)
			return &release->parts[i];
	return NULL;
}

int release_check(const struct release *release, const struct manifest *m, struct error *err)
{
	if (release->part_count != m->part_count)
		return fail(err, -EBADMSG, "the release has %zu parts, its manifest %zu",
			release->part_count, m->part_count);
	for (size_t i = 0; i < m->part_count; i++) {
		const struct release_part *p = release_get_part(release, m->parts[i].kind);

		if (!p || p->size != m->parts[i].size || !streq(p->digest, m->parts[i].digest))
			return fail(err, -EBADMSG,
				"the release's %s is another than its manifest's",
				manifest_kind_name(m->parts[i].kind));
	}
	return 0;
}

struct release *release_free(struct release *release)
{
	if (!release)
		return NULL;
	free(release->name);
	free(release);
	return NULL;
}
