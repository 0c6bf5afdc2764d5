#include "image/manifest.h"

#include <errno.h>
#include <jansson.h>
#include <stdint.h>

/* Longer than anything sensible, short enough for a terminal or a kernel (COMMAND_LINE_SIZE of
 * Linux on x86 is 2048). */
#define MANIFEST_TEXT_MAX    1024
#define MANIFEST_COMMAND_MAX 2047
#define MANIFEST_WORD_MAX    32

/* 8 TiB: what an overlay of one level-1 cluster reaches. */
#define MANIFEST_DISK_MAX (UINT64_C(8) << 40)

static const char *const part_names[] = {
	[IMAGE_DISK] = "disk", [IMAGE_KERNEL] = "kernel", [IMAGE_INITRD] = "initrd"};
static const char *const boot_names[] = {
	[IMAGE_BOOT_KERNEL] = "kernel", [IMAGE_BOOT_DISK] = "disk"};
static const char *const agent_names[] = {
	[IMAGE_AGENT_BUILTIN] = "builtin", [IMAGE_AGENT_SEED] = "seed"};

static const struct manifest_text {
	const char *key;
	size_t offset, max;
	bool required;
	bool has_lines; /* line feeds and tabs, too */
} manifest_texts[] = {
	{"format", offsetof(struct manifest, format), MANIFEST_WORD_MAX, true},
	{"architecture", offsetof(struct manifest, architecture), MANIFEST_WORD_MAX, true},
	{"command_line", offsetof(struct manifest, command_line), MANIFEST_COMMAND_MAX, false},
	{"agent_version", offsetof(struct manifest, agent_version), MANIFEST_WORD_MAX, false},
	{"os", offsetof(struct manifest, os), MANIFEST_TEXT_MAX, false},
	{"origin", offsetof(struct manifest, origin), MANIFEST_TEXT_MAX, false},
	{"recipe", offsetof(struct manifest, recipe), MANIFEST_RECIPE_MAX, false,
		.has_lines = true},
};

static const struct manifest_number {
	const char *key;
	size_t offset;
	uint64_t min, max;
} manifest_numbers[] = {
	{"created", offsetof(struct manifest, created), 0, INT64_MAX},
	{"min_memory_mib", offsetof(struct manifest, min_memory_mib), 0, UINT32_MAX},
	{"min_cpus", offsetof(struct manifest, min_cpus), 0, UINT16_MAX},
	{"disk_size", offsetof(struct manifest, disk_size), 1, MANIFEST_DISK_MAX},
};

struct manifest *manifest_free(struct manifest *m)
{
	if (!m)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(manifest_texts); i++)
		free(*(char **)((char *)m + manifest_texts[i].offset));
	for (size_t i = 0; m->gateways && m->gateways[i]; i++)
		free(m->gateways[i]);
	free(m->gateways);
	free(m);
	return NULL;
}

/* A manifest's texts end up on terminals: no control characters, C1 ones in UTF-8 included. */
static bool text_is_printable(const char *text, bool has_lines)
{
	const uint8_t *p = (const uint8_t *)text;

	for (; *p; p++)
		if ((*p < 0x20 && !(has_lines && (*p == '\n' || *p == '\t'))) || *p == 0x7f ||
			(p[0] == 0xc2 && p[1] < 0xa0))
			return false;
	return true;
}

static int word_find(const char *const *words, size_t count, const char *word)
{
	for (size_t i = 0; word && i < count; i++)
		if (streq(words[i], word))
			return (int)i;
	return -EINVAL;
}

static int load_text(
	const json_t *root, const struct manifest_text *row, struct manifest *m, struct error *err)
{
	const json_t *value = json_object_get(root, row->key);
	char **ret = (char **)((char *)m + row->offset);
	const char *text = json_string_value(value);

	if (!value || json_is_null(value))
		return row->required ? fail(err, -EINVAL, "manifest: no '%s'", row->key) : 0;
	if (!text || json_string_length(value) > row->max ||
		!text_is_printable(text, row->has_lines))
		return fail(err, -EINVAL,
			"manifest: '%s' is not a printable text of at most %zu bytes", row->key,
			row->max);
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int load_number(const json_t *root, const char *key, uint64_t min, uint64_t max,
	uint64_t *ret, struct error *err)
{
	const json_t *value = json_object_get(root, key);
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number < min ||
		(uint64_t)number > max)
		return fail(err, -EINVAL, "manifest: '%s' is not a number from %llu to %llu", key,
			(unsigned long long)min, (unsigned long long)max);
	*ret = (uint64_t)number;
	return 0;
}

static int load_choice(const json_t *root, const char *key, const char *const *words, size_t count,
	struct error *err)
{
	int i = word_find(words, count, json_string_value(json_object_get(root, key)));

	return i < 0 ? fail(err, i, "manifest: '%s' is missing or not known", key) : i;
}

bool manifest_gateway_is_valid(const char *name)
{
	size_t n = name ? strlen(name) : 0;

	return n > 0 && n <= MANIFEST_WORD_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static int load_gateways(const json_t *root, struct manifest *m, struct error *err)
{
	const json_t *list = json_object_get(root, "gateways");
	size_t count = json_array_size(list);

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || count > MANIFEST_LIST_MAX)
		return fail(err, -EINVAL, "manifest: 'gateways' is not a list of at most %d names",
			MANIFEST_LIST_MAX);
	m->gateways = calloc(count + 1, sizeof(char *));
	if (!m->gateways)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *name = json_string_value(json_array_get(list, i));

		if (!manifest_gateway_is_valid(name))
			return fail(err, -EINVAL, "manifest: gateway %zu is not a name", i);
		m->gateways[i] = strdup(name);
		if (!m->gateways[i])
			return -ENOMEM;
	}
	return 0;
}

static int load_part(const json_t *item, struct manifest *m, struct error *err)
{
	struct image_part *part = &m->parts[m->part_count];
	const char *digest = json_string_value(json_object_get(item, "digest"));
	int kind = load_choice(item, "kind", part_names, ARRAY_SIZE(part_names), err);

	if (kind < 0)
		return kind;
	part->kind = (enum image_part_kind)kind;
	if (manifest_part(m, part->kind))
		return fail(err, -EINVAL, "manifest: more than one %s", part_names[kind]);
	if (!digest || !digest_is_hex(digest))
		return fail(err, -EINVAL, "manifest: the %s's digest is not a SHA-256",
			part_names[kind]);
	memcpy(part->digest, digest, DIGEST_HEX_SIZE);
	m->part_count++;
	return load_number(item, "size", 1, MANIFEST_DISK_MAX, &part->size, err);
}

static int load_parts(const json_t *root, struct manifest *m, struct error *err)
{
	const json_t *list = json_object_get(root, "parts");

	if (!json_is_array(list) || json_array_size(list) > MANIFEST_PARTS_MAX)
		return fail(err, -EINVAL, "manifest: 'parts' is not a list of at most %d parts",
			MANIFEST_PARTS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++) {
		int r = load_part(json_array_get(list, i), m, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_scalars(const json_t *root, struct manifest *m, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(manifest_texts) && r >= 0; i++)
		r = load_text(root, &manifest_texts[i], m, err);
	for (size_t i = 0; i < ARRAY_SIZE(manifest_numbers) && r >= 0; i++)
		r = load_number(root, manifest_numbers[i].key, manifest_numbers[i].min,
			manifest_numbers[i].max,
			(uint64_t *)((char *)m + manifest_numbers[i].offset), err);
	if (r < 0)
		return r;
	r = load_choice(root, "boot", boot_names, ARRAY_SIZE(boot_names), err);
	if (r < 0)
		return r;
	m->boot = (enum image_boot)r;
	r = load_choice(root, "agent", agent_names, ARRAY_SIZE(agent_names), err);
	if (r < 0)
		return r;
	m->agent = (enum image_agent)r;
	return 0;
}

/* What the parts must be, given how the image boots. */
static int manifest_check(const struct manifest *m, struct error *err)
{
	bool by_kernel = m->boot == IMAGE_BOOT_KERNEL;
	const struct image_part *disk = manifest_part(m, IMAGE_DISK);

	if (!streq(m->format, "raw") && !streq(m->format, "qcow2"))
		return fail(err, -EINVAL, "manifest: disk format '%s' is neither raw nor qcow2",
			m->format);
	if (!disk)
		return fail(err, -EINVAL, "manifest: no disk");
	if (streq(m->format, "raw") && disk->size > m->disk_size)
		return fail(err, -EINVAL, "manifest: the disk's file is larger than the disk");
	if (by_kernel != (manifest_part(m, IMAGE_KERNEL) != NULL) ||
		by_kernel != (manifest_part(m, IMAGE_INITRD) != NULL) ||
		by_kernel != (m->command_line != NULL))
		return fail(err, -EINVAL,
			"manifest: kernel, initrd and command line must be there to boot by kernel,"
			" and absent to boot from disk");
	return 0;
}

static int manifest_load(const json_t *root, struct manifest *m, struct error *err)
{
	uint64_t version;
	int r = load_number(root, "version", 1, UINT32_MAX, &version, err);

	if (r < 0)
		return r;
	if (version > MANIFEST_VERSION)
		return fail(err, -EINVAL,
			"manifest: version %llu is newer than this program knows (%d); update WNoDeS",
			(unsigned long long)version, MANIFEST_VERSION);
	r = load_scalars(root, m, err);
	if (r >= 0)
		r = load_gateways(root, m, err);
	if (r >= 0)
		r = load_parts(root, m, err);
	return r < 0 ? r : manifest_check(m, err);
}

int manifest_parse(const char *json, size_t length, struct manifest **ret, struct error *err)
{
	struct manifest *m AUTO(manifest_freep) = NULL;
	json_error_t why;
	json_t *root;
	int r;

	if (length > MANIFEST_BYTES_MAX)
		return fail(err, -EINVAL, "manifest: larger than %d bytes", MANIFEST_BYTES_MAX);
	root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return fail(err, -EINVAL, "manifest: not JSON: line %d: %s", why.line, why.text);
	m = calloc(1, sizeof(*m));
	r = m ? manifest_load(root, m, err) : -ENOMEM;
	json_decref(root);
	if (r == -ENOMEM)
		return fail(err, r, "manifest: out of memory");
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

static json_t *format_gateways(const struct manifest *m)
{
	json_t *list;

	if (!m->gateways)
		return json_null();
	list = json_array();
	for (size_t i = 0; list && m->gateways[i]; i++)
		json_array_append_new(list, json_string(m->gateways[i]));
	return list;
}

static json_t *format_parts(const struct manifest *m)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < m->part_count; i++)
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:I}", "kind", part_names[m->parts[i].kind], "digest",
				m->parts[i].digest, "size", (json_int_t)m->parts[i].size));
	return list;
}

char *manifest_format(const struct manifest *m)
{
	json_t *root = json_pack("{s:i, s:s, s:s, s:o, s:o}", "version", MANIFEST_VERSION, "boot",
		boot_names[m->boot], "agent", agent_names[m->agent], "gateways", format_gateways(m),
		"parts", format_parts(m));
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(manifest_texts); i++) {
		const char *value = *(char *const *)((const char *)m + manifest_texts[i].offset);

		if (value)
			json_object_set_new(root, manifest_texts[i].key, json_string(value));
	}
	for (size_t i = 0; i < ARRAY_SIZE(manifest_numbers); i++) {
		uint64_t value = *(const uint64_t *)((const char *)m + manifest_numbers[i].offset);

		json_object_set_new(root, manifest_numbers[i].key, json_integer((json_int_t)value));
	}
	text = json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT);
	json_decref(root);
	return text;
}

char *manifest_clean_text(const char *text)
{
	char *clean = strndup(text, MANIFEST_TEXT_MAX);

	for (char *p = clean; p && *p; p++)
		if (*p < 0x20 || *p >= 0x7f)
			*p = '?';
	return clean;
}

const struct image_part *manifest_part(const struct manifest *m, enum image_part_kind kind)
{
	for (size_t i = 0; i < m->part_count; i++)
		if (m->parts[i].kind == kind)
			return &m->parts[i];
	return NULL;
}

bool manifest_has_gateway(const struct manifest *m, const char *gateway)
{
	for (size_t i = 0; m->gateways && m->gateways[i]; i++)
		if (streq(m->gateways[i], gateway))
			return true;
	return false;
}

const char *manifest_kind_name(enum image_part_kind kind)
{
	return part_names[kind];
}

int manifest_kind_parse(const char *name)
{
	return word_find(part_names, ARRAY_SIZE(part_names), name);
}
