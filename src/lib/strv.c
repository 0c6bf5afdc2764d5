#include "lib/strv.h"

#include <stdarg.h>
#include <stdio.h>

void strv_done(struct strv *v)
{
	for (size_t i = 0; i < v->count; i++)
		free(v->items[i]);
	free(v->items);
	*v = (struct strv){0};
}

/* Takes ownership of `text`, also when there is no room for it. */
static void strv_take(struct strv *v, char *text)
{
	char **items = text ? reallocarray(v->items, v->count + 2, sizeof(*items)) : NULL;

	if (!items) {
		free(text);
		v->failed = true;
		return;
	}
	items[v->count++] = text;
	items[v->count] = NULL;
	v->items = items;
}

void strv_add(struct strv *v, const char *text)
{
	strv_take(v, strdup(text));
}

void strv_add_format(struct strv *v, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	strv_take(v, text);
}

void strv_add_all(struct strv *v, ...)
{
	const char *text;
	va_list args;

	va_start(args, v);
	while ((text = va_arg(args, const char *)))
		strv_add(v, text);
	va_end(args);
}

static char **strv_env_find(const struct strv *v, const char *key)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < v->count; i++)
		if (strncmp(v->items[i], key, n) == 0 && v->items[i][n] == '=')
			return &v->items[i];
	return NULL;
}

const char *strv_env_get(const struct strv *v, const char *key)
{
	char **entry = strv_env_find(v, key);

	return entry ? *entry + strlen(key) + 1 : NULL;
}

void strv_env_set(struct strv *v, const char *key, const char *value)
{
	char **entry = strv_env_find(v, key);
	char *text = NULL;

	if (!entry) {
		strv_add_format(v, "%s=%s", key, value);
		return;
	}
	if (asprintf(&text, "%s=%s", key, value) < 0) {
		v->failed = true;
		return;
	}
	free(*entry);
	*entry = text;
}
