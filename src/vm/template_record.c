/* template.json: what a template is. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "vm/template_private.h"

/* Bounds of sense for numbers that others multiply: 16 TiB of memory, a year. */
#define RECORD_CPUS_MAX       4096
#define RECORD_MEMORY_MIB_MAX (UINT64_C(16) << 20)
#define RECORD_SHARES_MAX     256
#define RECORD_BOOT_US_MAX    (UINT64_C(366) * 86400 * 1000000)

const char *const template_file_names[TEMPLATE_FILES] = {
	[TEMPLATE_MEMORY] = "memory",
	[TEMPLATE_STATE] = "state",
	[TEMPLATE_OVERLAY] = "overlay",
};

enum record_kind { RECORD_TEXT, RECORD_DIGEST };

#define TEXT_ROW(member, kind)                                            \
	{                                                                 \
#member, offsetof(struct template_info, member),          \
			sizeof(((struct template_info *)0)->member), kind \
	}

static const struct record_text {
	const char *key;
	size_t offset, size;
	enum record_kind kind;
} record_texts[] = {
	TEXT_ROW(key, RECORD_DIGEST),
	TEXT_ROW(image_name, RECORD_TEXT),
	TEXT_ROW(image_tag, RECORD_TEXT),
	TEXT_ROW(image_digest, RECORD_DIGEST),
	TEXT_ROW(devices, RECORD_TEXT),
	TEXT_ROW(accel, RECORD_TEXT),
	TEXT_ROW(cpu_model, RECORD_TEXT),
	TEXT_ROW(qemu_version, RECORD_TEXT),
	TEXT_ROW(qemu_digest, RECORD_DIGEST),
	TEXT_ROW(agent_version, RECORD_TEXT),
};

static const struct record_number {
	const char *key;
	size_t offset;
	uint64_t min, max;
} record_numbers[] = {
	{"cpus", offsetof(struct template_info, cpus), 1, RECORD_CPUS_MAX},
	{"memory_mib", offsetof(struct template_info, memory_mib), 1, RECORD_MEMORY_MIB_MAX},
	{"shares", offsetof(struct template_info, shares), 0, RECORD_SHARES_MAX},
	{"created", offsetof(struct template_info, created), 0, INT64_MAX},
	{"boot_us", offsetof(struct template_info, boot_us), 0, RECORD_BOOT_US_MAX},
};

void template_stamp_set(struct template_stamp *ret, const struct stat *st)
{
	snprintf(ret->text, sizeof(ret->text), "%llu %lld %lld.%09ld %lld.%09ld",
		(unsigned long long)st->st_ino, (long long)st->st_size,
		(long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (long long)st->st_ctim.tv_sec,
		st->st_ctim.tv_nsec);
}

/* They end up on terminals. */
static bool text_is_printable(const char *text)
{
	for (; *text; text++)
		if ((uint8_t)*text < 0x20 || (uint8_t)*text >= 0x7f)
			return false;
	return true;
}

static int load_text(const json_t *root, const struct record_text *row, struct template_info *ret,
	struct error *err)
{
	const json_t *value = json_object_get(root, row->key);
	const char *text = json_string_value(value);

	if (!text || json_string_length(value) >= row->size || !text_is_printable(text))
		return fail(err, -EINVAL, "'%s' is not a text of at most %zu characters of ASCII",
			row->key, row->size - 1);
	if (row->kind == RECORD_DIGEST && !digest_is_hex(text))
		return fail(err, -EINVAL, "'%s' is not a SHA-256", row->key);
	memcpy((char *)ret + row->offset, text, json_string_length(value) + 1);
	return 0;
}

static int load_number(const json_t *root, const struct record_number *row,
	struct template_info *ret, struct error *err)
{
	const json_t *value = json_object_get(root, row->key);
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number < row->min ||
		(uint64_t)number > row->max)
		return fail(err, -EINVAL, "'%s' is not a number from %llu to %llu", row->key,
			(unsigned long long)row->min, (unsigned long long)row->max);
	*(uint64_t *)((char *)ret + row->offset) = (uint64_t)number;
	return 0;
}

static int load_stamps(
	const json_t *root, struct template_stamp ret[TEMPLATE_FILES], struct error *err)
{
	const json_t *files = json_object_get(root, "files");

	for (size_t i = 0; i < TEMPLATE_FILES; i++) {
		const json_t *value = json_object_get(files, template_file_names[i]);
		const char *text = json_string_value(value);

		if (!text || json_string_length(value) >= sizeof(ret[i].text))
			return fail(
				err, -EINVAL, "no stamp of the file '%s'", template_file_names[i]);
		memcpy(ret[i].text, text, json_string_length(value) + 1);
	}
	return 0;
}

static int load_record(const json_t *root, struct template_info *ret,
	struct template_stamp ret_stamps[TEMPLATE_FILES], struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(record_texts) && r >= 0; i++)
		r = load_text(root, &record_texts[i], ret, err);
	for (size_t i = 0; i < ARRAY_SIZE(record_numbers) && r >= 0; i++)
		r = load_number(root, &record_numbers[i], ret, err);
	return r < 0 ? r : load_stamps(root, ret_stamps, err);
}

int template_record_parse(const char *json, size_t length, struct template_info *ret,
	struct template_stamp ret_stamps[TEMPLATE_FILES], struct error *err)
{
	json_error_t why;
	json_t *root;
	int r;

	*ret = (struct template_info){0};
	if (length > TEMPLATE_JSON_MAX)
		return fail(err, -EINVAL, "larger than %d bytes", TEMPLATE_JSON_MAX);
	root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return fail(err, -EINVAL, "not JSON: line %d: %s", why.line, why.text);
	r = load_record(root, ret, ret_stamps, err);
	json_decref(root);
	return r;
}

static json_t *format_stamps(const struct template_stamp stamps[TEMPLATE_FILES])
{
	json_t *files = json_object();

	for (size_t i = 0; i < TEMPLATE_FILES; i++)
		json_object_set_new(files, template_file_names[i], json_string(stamps[i].text));
	return files;
}

char *template_record_format(
	const struct template_info *info, const struct template_stamp stamps[TEMPLATE_FILES])
{
	json_t *root = json_object();
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(record_texts); i++)
		json_object_set_new(root, record_texts[i].key,
			json_string((const char *)info + record_texts[i].offset));
	for (size_t i = 0; i < ARRAY_SIZE(record_numbers); i++) {
		uint64_t value = *(const uint64_t *)((const char *)info + record_numbers[i].offset);

		json_object_set_new(root, record_numbers[i].key, json_integer((json_int_t)value));
	}
	json_object_set_new(root, "files", format_stamps(stamps));
	text = json_dumps(root, JSON_SORT_KEYS | JSON_INDENT(1));
	json_decref(root);
	return text;
}
