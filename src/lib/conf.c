/* Settings: defaults, and values from text. conf_load.c reads files. */
#include "lib/conf.h"

#include <errno.h>

#include "lib/parse.h"
#include "lib/pattern.h"

/* Values of one CONF_STRINGS key. */
#define STRINGS_MAX 1024

static size_t strings_count(char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

static void strings_free(char ***list)
{
	for (size_t i = strings_count(*list); i-- > 0;)
		free((*list)[i]);
	free(*list);
	*list = NULL;
}

void conf_clear(const struct conf_setting *row, void *settings)
{
	strings_free((char ***)(void *)((char *)settings + row->offset));
}

static int strings_append(char ***list, const char *text, struct error *err)
{
	size_t n = strings_count(*list);
	char **grown;

	if (n >= STRINGS_MAX)
		return fail(err, -EINVAL, "more than %d values", STRINGS_MAX);
	grown = reallocarray(*list, n + 2, sizeof(*grown));
	if (!grown)
		return fail(err, -ENOMEM, "out of memory");
	*list = grown;
	grown[n + 1] = NULL;
	grown[n] = *text ? strdup(text) : NULL;
	return grown[n] || !*text ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int string_set(char **member, const char *text, struct error *err)
{
	char *copy = strdup(text);

	if (!copy)
		return fail(err, -ENOMEM, "out of memory");
	free(*member);
	*member = copy;
	return 0;
}

/* Adds each word of the line. */
static int words_append(
	char ***list, const struct conf_setting *row, const char *text, struct error *err)
{
	static const char between[] = ", \t";
	int r = 0;

	text += strspn(text, between);
	if (!*text)
		return fail(err, -EINVAL, "has no value");
	while (*text && r == 0) {
		size_t n = strcspn(text, between);
		autofree char *word = strndup(text, n);

		if (!word)
			return fail(err, -ENOMEM, "out of memory");
		if (row->choices)
			r = parse_choice(word, row->choices, err);
		if (r == 0)
			r = strings_append(list, word, err);
		text += n + strspn(text + n, between);
	}
	return r;
}

static int pattern_set(struct pattern **member, const char *text, struct error *err)
{
	struct pattern *fresh = NULL;
	int r = pattern_new(text, &fresh, err);

	if (r < 0)
		return r;
	pattern_free(*member);
	*member = fresh;
	return 0;
}

int conf_set(const struct conf_setting *row, void *settings, const char *text, struct error *err)
{
	void *member = (char *)settings + row->offset;
	int r = row->check ? row->check(text, err) : 0;

	if (r < 0)
		return r;
	switch (row->type) {
	case CONF_STRING:
		return string_set(member, text, err);
	case CONF_STRINGS:
		return strings_append(member, text, err);
	case CONF_WORDS:
		return words_append(member, row, text, err);
	case CONF_PATTERN:
		return pattern_set(member, text, err);
	case CONF_BOOL:
		return parse_bool(text, member, err);
	case CONF_CHOICE:
		r = parse_choice(text, row->choices, err);
		return r < 0 ? r : string_set(member, text, err);
	case CONF_NUMBER:
		return parse_quantity(PARSE_NUMBER, text, row->min, row->max, member, err);
	case CONF_SIZE:
		return parse_quantity(PARSE_SIZE, text, row->min, row->max, member, err);
	case CONF_DURATION:
		return parse_quantity(PARSE_DURATION, text, row->min, row->max, member, err);
	}
	return fail(err, -EINVAL, "setting '%s' has no type", row->key);
}

int conf_init(const struct conf_setting *table, void *settings, struct error *err)
{
	for (const struct conf_setting *row = table; row->key; row++) {
		const char *value = row->default_value;
		void *member = (char *)settings + row->offset;
		int r = 0;

		/* Lists are never NULL, so that readers need not ask. */
		if (!value && (row->type == CONF_STRINGS || row->type == CONF_WORDS))
			r = strings_append(member, "", err);
		if (value)
			r = conf_set(row, settings, value, err);
		if (r < 0) {
			conf_done(table, settings);
			return fail_within(err, "default of [%s] %s", row->section, row->key);
		}
	}
	return 0;
}

void conf_done(const struct conf_setting *table, void *settings)
{
	for (const struct conf_setting *row = table; row->key; row++) {
		void *member = (char *)settings + row->offset;

		if (row->type == CONF_STRINGS || row->type == CONF_WORDS)
			strings_free(member);
		if (row->type == CONF_PATTERN)
			*(struct pattern **)member = pattern_free(*(struct pattern **)member);
		if (row->type == CONF_STRING || row->type == CONF_CHOICE) {
			free(*(char **)member);
			*(char **)member = NULL;
		}
	}
}
