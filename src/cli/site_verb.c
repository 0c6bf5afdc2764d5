#include "cli/site_verb.h"

#include <errno.h>
#include <stdarg.h>

#include "lib/log.h"

/* Rows that are written at a time: their columns are aligned with each other. */
#define BLOCK 1000

const struct verb_option site_json_rows[] = {
	SITE_JSON_OPTION(struct site_json_option),
	{.name = NULL},
};

static int report(int code, const struct error *err)
{
	log_error("%s", err->text[0] ? err->text : strerror(-code));
	return EXIT_WNODES;
}

/* A list while it comes. */
struct listing {
	const struct site_list *list;
	const struct site_list_options *options;
	struct table *table;
};

static int listing_flush(struct listing *l, bool last)
{
	if (l->options->json)
		return table_flush_json(l->table, last, stdout);
	if (!l->options->quiet)
		return table_flush(l->table, stdout);
	table_print_member(l->table, l->list->name, stdout);
	json_array_clear(table_rows(l->table));
	return 0;
}

/* Takes `row`. */
static int listing_add(json_t *row, void *userdata)
{
	struct listing *l = userdata;
	int r;

	if (l->list->flatten && !l->options->json)
		l->list->flatten(row);
	r = table_add(l->table, row);
	if (r == 0 && json_array_size(table_rows(l->table)) >= BLOCK)
		r = listing_flush(l, false);
	/* Nobody reads on: `| head`. */
	return r == 0 && ferror(stdout) ? -EPIPE : r;
}

static const char *const *filter_of(
	const struct verb_option *row, const struct site_list_options *options)
{
	size_t first = offsetof(struct site_list_options, filters);

	if (row->type != OPTION_STRING || row->offset < first)
		return NULL;
	return (const char *const *)((const char *)options + row->offset);
}

static void add_filters(struct site_path *path, const struct verb_option *rows,
	const struct site_list_options *options)
{
	for (const struct verb_option *row = rows; row->name; row++) {
		const char *const *value = filter_of(row, options);

		if (value)
			site_path_add(
				path, streq(row->name, "group") ? "hostgroup" : row->name, *value);
	}
}

bool site_verb_is_filtered(const struct verb_option *rows, const struct site_list_options *options,
	const char **ret_name)
{
	for (const struct verb_option *row = rows; row->name; row++) {
		const char *const *value = filter_of(row, options);

		if (!value || !*value)
			continue;
		if (ret_name)
			*ret_name = row->name;
		return true;
	}
	return false;
}

int site_verb_list(const struct site_list *list, const struct site_list_options *options)
{
	struct site_path path AUTO(site_path_done) = {0};
	struct table *table AUTO(table_freep) = table_new(list->table);
	struct listing l = {.list = list, .options = options, .table = table};
	struct error err = {0};
	int r;

	site_path_init(&path, list->noun, NULL);
	add_filters(&path, list->rows, options);
	r = table ? site_call_list(&path, listing_add, &l, &err) : -ENOMEM;
	if (r == 0)
		r = listing_flush(&l, true);
	return r < 0 ? report(r, &err) : EXIT_SUCCESS;
}

int site_verb_get(struct site_path *path, json_t **ret)
{
	struct error err = {0};
	int r = site_call_ask("GET", path, NULL, NULL, ret, &err);

	if (r == 0 && !*ret)
		r = fail(&err, -EPROTO, "the site answered nothing");
	return r < 0 ? report(r, &err) : EXIT_SUCCESS;
}

int site_verb_print(json_t *thing, const struct table_column *fields, bool json)
{
	struct table *table AUTO(table_freep) = table_new(fields);
	int r = table ? table_add(table, thing) : -ENOMEM;

	if (!table)
		json_decref(thing);
	if (r == 0)
		r = json ? table_print_json_record(table, stdout)
			 : table_print_record(table, stdout);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

int site_verb_change(const char *method, struct site_path *path, json_t *body, const char *if_match,
	json_t **ret)
{
	struct error err = {0};
	json_t *answer = NULL;
	int r = site_call_ask(method, path, body, if_match, &answer, &err);

	json_decref(body);
	if (ret)
		*ret = answer;
	else
		json_decref(answer);
	return r < 0 ? report(r, &err) : EXIT_SUCCESS;
}

int site_verb_tell(bool json, json_t *answer, const char *format, ...)
{
	va_list args;

	if (json) {
		json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
		fputs(answer ? "\n" : "{}\n", stdout);
		json_decref(answer);
		return EXIT_SUCCESS;
	}
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	json_decref(answer);
	return EXIT_SUCCESS;
}

int site_verb_fail(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_error("%s", text);
	return EXIT_WNODES;
}

json_t *site_verb_texts(const struct verb_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(array, json_string(list->items[i]));
	return array;
}
