#include "engine/status.h"

#include <errno.h>
#include <stdio.h>

#define STATUS_VERSION 1

/* A hundred years: what is more is no time of a VM, and must not make sums overflow. */
#define STATUS_TIME_MAX (UINT64_C(36525) * 86400 * 1000000)

#define WORD_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

enum text_kind {
	TEXT_ANY,
	TEXT_WORD,          /* a part of file names */
	TEXT_WORD_OR_EMPTY, /* the same, or "" */
};

#define TEXT_ROW(key, member, kind)                                               \
	{                                                                         \
		key, offsetof(struct status, member), MEMBER_SIZE(member), (kind) \
	}
#define MEMBER_SIZE(member) sizeof(((struct status *)0)->member)

static const struct text_row {
	const char *key;
	size_t offset, size;
	enum text_kind kind;
} texts[] = {
	TEXT_ROW("cluster", job.cluster, TEXT_WORD),
	TEXT_ROW("job", job.job, TEXT_WORD),
	TEXT_ROW("step", job.step, TEXT_WORD_OR_EMPTY),
	TEXT_ROW("node", job.node, TEXT_WORD),
	TEXT_ROW("boot", starter.boot, TEXT_ANY),
	TEXT_ROW("pid_namespace", starter.space, TEXT_ANY),
	TEXT_ROW("vm", vm, TEXT_WORD_OR_EMPTY),
	TEXT_ROW("image", image, TEXT_ANY),
	TEXT_ROW("digest", digest, TEXT_ANY),
	TEXT_ROW("start", start, TEXT_ANY),
	TEXT_ROW("reason", reason, TEXT_ANY),
};

static const struct number_row {
	const char *key;
	size_t offset;
	uint64_t min, max;
} numbers[] = {
	{"restart", offsetof(struct status, job.restart), 0, UINT32_MAX},
	{"pid", offsetof(struct status, starter.pid), 1, INT32_MAX},
	{"pid_start", offsetof(struct status, starter.start), 0, INT64_MAX},
	{"accepted_us", offsetof(struct status, accepted_us), 0, STATUS_TIME_MAX},
};

bool status_is_word(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && n < STATUS_WORD_MAX && text[0] != '.' && text[0] != '-' &&
	       strspn(text, WORD_CHARACTERS) == n;
}

static int load_text(
	const json_t *root, const struct text_row *row, struct status *ret, struct error *err)
{
	const json_t *value = json_object_get(root, row->key);
	const char *text = json_string_value(value);

	if (!text || json_string_length(value) >= row->size)
		return fail(err, -EINVAL, "'%s' is no text of at most %zu bytes", row->key,
			row->size - 1);
	if (row->kind != TEXT_ANY && !status_is_word(text) &&
		!(row->kind == TEXT_WORD_OR_EMPTY && !text[0]))
		return fail(err, -EINVAL, "'%s' is no name", row->key);
	memcpy((char *)ret + row->offset, text, json_string_length(value) + 1);
	return 0;
}

static int load_number(const json_t *object, const char *key, uint64_t min, uint64_t max,
	uint64_t *ret, struct error *err)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0 || (uint64_t)number < min ||
		(uint64_t)number > max)
		return fail(err, -EINVAL, "'%s' is no number from %llu to %llu", key,
			(unsigned long long)min, (unsigned long long)max);
	*ret = (uint64_t)number;
	return 0;
}

static int load_phase_name(const json_t *object, enum phase *ret, struct error *err)
{
	const char *name = json_string_value(json_object_get(object, "phase"));

	return name && phase_parse(name, ret) == 0 ? 0 : fail(err, -EINVAL, "no such phase");
}

static int load_phases(const json_t *root, struct status *ret, struct error *err)
{
	const json_t *list = json_object_get(root, "phases"), *item;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > PHASE_COUNT)
		return fail(err, -EINVAL, "'phases' is no list of phases");
	json_array_foreach(list, i, item)
	{
		struct status_phase *p;
		enum phase phase = PHASE_QUEUED;
		int r = load_phase_name(item, &phase, err);

		if (r < 0)
			return r;
		p = &ret->phases[phase];
		p->entered = true;
		r = load_number(item, "start_us", 0, STATUS_TIME_MAX, &p->start_us, err);
		if (r == 0)
			r = load_number(
				item, "duration_us", 0, STATUS_TIME_MAX, &p->duration_us, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int load_exit_status(const json_t *root, struct status *ret, struct error *err)
{
	const json_t *value = json_object_get(root, "exit_status");
	uint64_t number = 0;
	int r = json_is_null(value) ? 0 : load_number(root, "exit_status", 0, 255, &number, err);

	ret->exit_status = json_is_null(value) ? -1 : (int)number;
	return r;
}

static int load_status(const json_t *root, struct status *ret, struct error *err)
{
	uint64_t version;
	int r = load_number(root, "version", STATUS_VERSION, STATUS_VERSION, &version, err);

	for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
		r = load_text(root, &texts[i], ret, err);
	for (size_t i = 0; i < ARRAY_SIZE(numbers) && r == 0; i++)
		r = load_number(root, numbers[i].key, numbers[i].min, numbers[i].max,
			(uint64_t *)(void *)((char *)ret + numbers[i].offset), err);
	if (r == 0 && strchr(ret->job.job, '.'))
		r = fail(err, -EINVAL, "'job' is no name of a job");
	if (r == 0)
		r = load_phase_name(root, &ret->phase, err);
	if (r == 0)
		r = load_phases(root, ret, err);
	return r < 0 ? r : load_exit_status(root, ret, err);
}

int status_parse(const char *json, size_t length, struct status *ret, struct error *err)
{
	json_error_t why;
	json_t *root;
	int r;

	*ret = (struct status){0};
	if (length > STATUS_MAX)
		return fail(err, -EINVAL, "larger than %d bytes", STATUS_MAX);
	root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return fail(err, -EINVAL, "not JSON: line %d: %s", why.line, why.text);
	r = load_status(root, ret, err);
	json_decref(root);
	return r;
}

/* What is no UTF-8, in a reason for example, cannot be in JSON. */
static json_t *make_text(const char *text)
{
	json_t *value = json_string(text);

	return value ? value : json_string("?");
}

static json_t *make_phases(const struct status *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < PHASE_COUNT; i++) {
		const struct status_phase *p = &s->phases[i];

		if (p->entered)
			json_array_append_new(list,
				json_pack("{s:s, s:I, s:I}", "phase", phase_name((enum phase)i),
					"start_us", (json_int_t)p->start_us, "duration_us",
					(json_int_t)p->duration_us));
	}
	return list;
}

char *status_format(const struct status *s)
{
	json_t *root = json_pack("{s:i, s:s, s:o, s:o}", "version", STATUS_VERSION, "phase",
		phase_name(s->phase), "phases", make_phases(s), "exit_status",
		s->exit_status < 0 ? json_null() : json_integer(s->exit_status));
	char *text;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		json_object_set_new(
			root, texts[i].key, make_text((const char *)s + texts[i].offset));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const uint64_t *value =
			(const uint64_t *)(const void *)((const char *)s + numbers[i].offset);

		json_object_set_new(root, numbers[i].key, json_integer((json_int_t)*value));
	}
	text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(root);
	return text;
}

bool status_has_ended(const struct status *s)
{
	return s->phase == PHASE_DONE || s->phase == PHASE_FAILED;
}

/* Of the phase that it is in: what was written may be old. Clocks of two hosts may differ. */
static uint64_t phase_now_us(const struct status *s, const struct status_phase *p, uint64_t now_us)
{
	uint64_t began_us = s->accepted_us + p->start_us;

	return MAX_OF(p->duration_us, now_us > began_us ? now_us - began_us : 0);
}

uint64_t status_phase_us(const struct status *s, enum phase phase, uint64_t now_us)
{
	const struct status_phase *p = &s->phases[phase];

	if (!p->entered)
		return 0;
	return phase == s->phase ? phase_now_us(s, p, now_us) : p->duration_us;
}

uint64_t status_provision_us(const struct status *s, uint64_t now_us)
{
	uint64_t end_us = 0;

	if (s->phases[PHASE_RUN].entered)
		return s->phases[PHASE_RUN].start_us;
	for (int i = PHASE_QUEUED; i < PHASE_RUN; i++) {
		enum phase phase = (enum phase)i;

		if (s->phases[i].entered)
			end_us = MAX_OF(
				end_us, s->phases[i].start_us + status_phase_us(s, phase, now_us));
	}
	return end_us;
}
