/* Reads recipes.
 *
 * Not by libinih, as settings are: a file's content must come through as it stands, with its
 * indentation and whatever looks like a comment, and sections are called after paths. Keys, values
 * and their messages are those of lib/conf.c.
 *
 * The text that is kept grows with the reading: each line as it is, but for those that name a file
 * of the host, which become the file's content. So comments stay, and refreshing needs no file. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>

#include "image/recipe.h"
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/nearest.h"
#include "lib/path.h"

/* Sections of one kind. */
#define ITEMS_MAX 512

#define IMAGE_ROWS_MAX   32
#define BASE64_LINE      72
#define BASE64_LINE_DATA (BASE64_LINE / 4 * 3)

struct reader {
	struct recipe *recipe;
	const char *directory; /* where files are that it names; NULL: it may name none */
	int line;
	bool image_given[IMAGE_ROWS_MAX];
	/* The section that is being read. */
	const struct conf_setting *table; /* NULL: none so far */
	const char *kind;
	void *settings;
	bool *given;
	/* The value that is being read, which ends with the next line that is not its. */
	const struct conf_setting *row; /* NULL: none */
	int row_line;
	bool is_block;
	struct buffer value;
	struct buffer text;
	struct error *err;
};

static int reader_fail(struct reader *r, int line, const char *format, ...) PRINTF(3, 4);

static int reader_fail(struct reader *r, int line, const char *format, ...)
{
	char text[ERROR_TEXT_MAX / 2];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return fail(r->err, -EINVAL, "%s:%d: %s", r->recipe->origin, line, text);
}

static int append(struct buffer *b, const char *text, size_t length)
{
	return buffer_append(b, text, length);
}

static int append_text(struct buffer *b, const char *text)
{
	return append(b, text, strlen(text));
}

/* Without control characters (those of UTF-8 included), as a manifest's text must be, and UTF-8, as
 * JSON takes nothing else. */
static bool is_clean(const char *data, size_t length)
{
	const unsigned char *p = (const unsigned char *)data;
	json_t *string;

	for (size_t i = 0; i < length; i++)
		if ((p[i] < ' ' && p[i] != '\n' && p[i] != '\t') || p[i] == 0x7f ||
			(p[i] == 0xc2 && i + 1 < length && p[i + 1] < 0xa0))
			return false;
	string = json_stringn(data, length);
	json_decref(string);
	return string;
}

/* Is it something that a block of lines can be? */
static bool is_text(const char *data, size_t length)
{
	return is_clean(data, length) && (length == 0 || data[length - 1] == '\n');
}

/* "KEY =" and a block. */
static int keep_lines(struct buffer *out, const char *key, const char *data, size_t length)
{
	int r = append_text(out, key);

	if (r == 0)
		r = append_text(out, " =\n");
	while (r == 0 && length > 0) {
		size_t n = (size_t)((const char *)memchr(data, '\n', length) - data) + 1;

		r = append_text(out, "| ");
		if (r == 0)
			r = append(out, data, n);
		data += n;
		length -= n;
	}
	return r;
}

static int encode_base64(const char *data, size_t length, struct buffer *ret)
{
	int r = 0;

	while (r == 0 && length > 0) {
		size_t n = MIN_OF(length, (size_t)BASE64_LINE_DATA);
		char line[BASE64_LINE + 2];
		int written =
			EVP_EncodeBlock((unsigned char *)line, (const unsigned char *)data, (int)n);

		line[written] = '\n';
		r = append(ret, line, (size_t)written + 1);
		data += n;
		length -= n;
	}
	return r;
}

static const struct conf_setting *find_row(const struct conf_setting *table, const char *key)
{
	while (table->key && !streq(table->key, key))
		table++;
	return table;
}

/* Puts a file's content into the recipe, under the key that says so, in the place of its name. */
static int take_content(struct reader *r, const char *data, size_t length)
{
	bool is_script = streq(r->row->key, "script"), plain = is_text(data, length);
	const char *key = is_script ? plain ? "run" : "run_base64" : plain ? "content" : "base64";
	const struct conf_setting *row = find_row(r->table, key);
	struct buffer coded AUTO(buffer_done) = {0};
	int e = 0;

	if (r->given[row - r->table])
		return reader_fail(r, r->row_line, "%s and %s are both set; give one of them",
			r->row->key, key);
	r->given[row - r->table] = true;
	if (!plain)
		e = encode_base64(data, length, &coded);
	if (e == 0 && !plain) {
		data = (const char *)buffer_head(&coded);
		length = coded.len;
	}
	if (e == 0)
		e = keep_lines(&r->text, key, data, length);
	if (e == 0 && !plain)
		e = append(&coded, "", 1);
	if (e < 0)
		return fail(r->err, e, "out of memory");
	return conf_set(row, r->settings, plain ? data : (const char *)buffer_head(&coded), r->err);
}

/* A script may end without a line feed, and still be lines. */
static int end_line(char **data, size_t *length)
{
	size_t n = *length;
	char *grown;

	if (n == 0 || (*data)[n - 1] == '\n' || !is_clean(*data, n))
		return 0;
	grown = realloc(*data, n + 2);
	if (!grown)
		return -ENOMEM;
	memcpy(grown + n, "\n", 2);
	*data = grown;
	*length = n + 1;
	return 0;
}

static int take_file(struct reader *r, const char *name)
{
	autofree char *path = NULL;
	autofree char *data = NULL;
	size_t length;
	int e;

	if (!r->directory)
		return reader_fail(r, r->row_line,
			"%s: a recipe of an image names no files of the host", r->row->key);
	if (r->is_block || !*name)
		return reader_fail(
			r, r->row_line, "%s is the name of a file, in one line", r->row->key);
	path = name[0] == '/' ? strdup(name) : path_format("%s/%s", r->directory, name);
	if (!path)
		return fail(r->err, -ENOMEM, "out of memory");
	e = file_read(AT_FDCWD, path, RECIPE_BYTES_MAX, &data, &length);
	if (e == 0 && streq(r->row->key, "script"))
		e = end_line(&data, &length);
	if (e == -EFBIG)
		return reader_fail(r, r->row_line,
			"'%s' is larger than %d KiB, which a recipe takes; make a package of it",
			path, RECIPE_BYTES_MAX / 1024);
	if (e < 0)
		return reader_fail(r, r->row_line, "cannot read '%s': %s", path, strerror(-e));
	return take_content(r, data, length);
}

static bool takes_block(const struct conf_setting *row)
{
	static const char *const keys[] = {"content", "base64", "run", "run_base64", "command"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (streq(keys[i], row->key))
			return true;
	return false;
}

static bool names_file(const struct conf_setting *row)
{
	return streq(row->key, "source") || streq(row->key, "script");
}

/* The value is complete. */
static int end_value(struct reader *r)
{
	const struct conf_setting *row = r->row;
	struct error why = {0};
	const char *text;
	int e;

	if (!row)
		return 0;
	if (append(&r->value, "", 1) < 0)
		return fail(r->err, -ENOMEM, "out of memory");
	text = (const char *)buffer_head(&r->value);
	if (names_file(row))
		e = take_file(r, text);
	else if (r->is_block && !takes_block(row))
		e = reader_fail(
			r, r->row_line, "%s has one line; write it behind the '='", row->key);
	else {
		e = conf_set(row, r->settings, text, &why);
		if (e < 0)
			reader_fail(r, r->row_line, "%s: %s", row->key, why.text);
	}
	r->row = NULL;
	buffer_done(&r->value);
	return e;
}

static int unknown_key(struct reader *r, const char *key)
{
	struct nearest nearest = {.word = key};
	char known[ERROR_TEXT_MAX / 4] = "";
	size_t used = 0;

	for (const struct conf_setting *row = r->table; row->key; row++)
		if (streq(row->section, r->kind)) {
			nearest_offer(&nearest, row->key);
			if (used < sizeof(known))
				used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					used ? ", " : "", row->key);
		}
	if (nearest_get(&nearest))
		return reader_fail(r, r->line, "unknown key '%.64s' in [%s]; did you mean '%s'?",
			key, r->kind, nearest_get(&nearest));
	return reader_fail(
		r, r->line, "unknown key '%.64s' in [%s]; it has %s", key, r->kind, known);
}

static int begin_value(struct reader *r, const char *key, const char *value)
{
	const struct conf_setting *row = r->table;
	bool is_list, *given;

	if (!row)
		return reader_fail(r, r->line,
			"'%.64s' stands before any section; there are [image], [services], [file /PATH], "
			"[edit /PATH] and [check NAME]",
			key);
	while (row->key && !(streq(row->section, r->kind) && streq(row->key, key)))
		row++;
	if (!row->key)
		return unknown_key(r, key);
	given = &r->given[row - r->table];
	is_list = row->type == CONF_STRINGS || row->type == CONF_WORDS;
	if (*given && !is_list)
		return reader_fail(r, r->line, "%s is set a second time", key);
	if (!*value && is_list)
		return reader_fail(r, r->line, "%s has no value", key);
	*given = true;
	r->row = row;
	r->row_line = r->line;
	r->is_block = false;
	return append_text(&r->value, value) < 0 ? fail(r->err, -ENOMEM, "out of memory") : 0;
}

/* A line of a block, from its bar on. */
static int add_line(struct reader *r, const char *line)
{
	int e = 0;

	if (!r->row)
		return reader_fail(r, r->line, "a line that begins with '|' must follow KEY =");
	if (!r->is_block && r->value.len > 0)
		e = append(&r->value, "\n", 1);
	r->is_block = true;
	line++;
	line += *line == ' ';
	if (e == 0)
		e = append_text(&r->value, line);
	if (e == 0)
		e = append(&r->value, "\n", 1);
	return e < 0 ? fail(r->err, e, "out of memory") : 0;
}

static size_t table_rows(const struct conf_setting *table)
{
	size_t n = 0;

	while (table[n].key)
		n++;
	return n;
}

static int add_item(struct reader *r, struct conf_list *list, const char *name)
{
	struct conf_item *grown, *item;

	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i].name, name))
			return reader_fail(r, r->line, "[%s %.200s] stands in line %d already",
				list->kind, name, list->items[i].line);
	if (list->count == ITEMS_MAX)
		return reader_fail(
			r, r->line, "more than %d sections [%s ...]", ITEMS_MAX, list->kind);
	grown = reallocarray(list->items, list->count + 1, sizeof(*grown));
	if (!grown)
		return fail(r->err, -ENOMEM, "out of memory");
	list->items = grown;
	item = &list->items[list->count++];
	*item = (struct conf_item){.name = strdup(name),
		.line = r->line,
		.settings = calloc(1, list->size),
		.given = calloc(table_rows(list->table) + 1, sizeof(bool))};
	if (!item->name || !item->settings || !item->given)
		return fail(r->err, -ENOMEM, "out of memory");
	r->table = list->table;
	r->kind = list->kind;
	r->settings = item->settings;
	r->given = item->given;
	return conf_init(list->table, item->settings, r->err);
}

/* The header of a section, between its brackets. */
static int begin_section(struct reader *r, char *header)
{
	char *name = header + strcspn(header, " \t");

	if (*name) {
		*name++ = '\0';
		name += strspn(name, " \t");
	}
	if (streq(header, "image") || streq(header, "services")) {
		if (*name)
			return reader_fail(r, r->line, "[%s] has no name", header);
		r->table = recipe_image_table;
		r->kind = streq(header, "image") ? "image" : "services";
		r->settings = &r->recipe->image;
		r->given = r->image_given;
		return 0;
	}
	for (size_t i = 0; i < RECIPE_LISTS; i++) {
		struct conf_list *list = &r->recipe->lists[i];

		if (!streq(header, list->kind))
			continue;
		if (!*name)
			return reader_fail(r, r->line, "write [%s %s]", header,
				i == RECIPE_CHECKS ? "NAME" : "/PATH");
		return add_item(r, list, name);
	}
	return reader_fail(r, r->line,
		"unknown section [%.64s]; there are [image], [services], [file /PATH], [edit /PATH] "
		"and [check NAME]",
		header);
}

static void trim(char *text)
{
	size_t n = strlen(text);

	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	text[n] = '\0';
}

/* What the line is, without its indentation. */
static int read_content(struct reader *r, char *line)
{
	char *equals;
	int e;

	if (*line == '|')
		return add_line(r, line);
	trim(line);
	if (*line == '\0' || *line == '#' || *line == ';')
		return 0;
	e = end_value(r);
	if (e < 0)
		return e;
	if (*line == '[') {
		if (line[strlen(line) - 1] != ']')
			return reader_fail(r, r->line, "a header of a section ends with ']'");
		line[strlen(line) - 1] = '\0';
		return begin_section(r, line + 1);
	}
	equals = strchr(line, '=');
	if (!equals)
		return reader_fail(r, r->line, "neither [section] nor key = value");
	*equals = '\0';
	trim(line);
	return begin_value(r, line, equals + 1 + strspn(equals + 1, " \t"));
}

static int read_line(struct reader *r, const char *line, size_t length)
{
	autofree char *copy = NULL;
	bool named;
	int e;

	r->line++;
	/* An editor's way to end lines is no part of them. */
	length -= length > 0 && line[length - 1] == '\r';
	if (!is_clean(line, length))
		return reader_fail(r, r->line, "not text: a control character, or not UTF-8");
	copy = strndup(line, length);
	if (!copy)
		return fail(r->err, -ENOMEM, "out of memory");
	e = read_content(r, copy + strspn(copy, " \t"));
	named = r->row && r->row_line == r->line && names_file(r->row);
	if (e == 0 && !named)
		e = append(&r->text, line, length);
	if (e == 0 && !named)
		e = append(&r->text, "\n", 1);
	return e;
}

static int read_all(struct reader *r, const char *text, size_t length)
{
	int e = 0;

	while (e == 0 && length > 0) {
		const char *end = memchr(text, '\n', length);
		size_t n = end ? (size_t)(end - text) : length;

		e = read_line(r, text, n);
		n += end != NULL;
		text += n;
		length -= n;
	}
	return e == 0 ? end_value(r) : e;
}

/* Takes the text that was made. */
static int keep_text(struct reader *r)
{
	struct recipe *recipe = r->recipe;

	if (r->text.len > RECIPE_BYTES_MAX)
		return fail(r->err, -EINVAL,
			"%s: with the files that it names it has %zu KiB; %d KiB fit: make a package "
			"of what is large",
			recipe->origin, r->text.len / 1024 + 1, RECIPE_BYTES_MAX / 1024);
	recipe->length = r->text.len;
	if (append(&r->text, "", 1) < 0)
		return fail(r->err, -ENOMEM, "out of memory");
	recipe->text = strdup((const char *)buffer_head(&r->text));
	for (size_t i = 0; i < IMAGE_ROWS_MAX; i++)
		recipe->given |= (uint64_t)r->image_given[i] << i;
	return recipe->text ? 0 : fail(r->err, -ENOMEM, "out of memory");
}

int recipe_parse(const char *text, size_t length, const char *origin, const char *directory,
	struct recipe **ret, struct error *err)
{
	struct recipe *recipe AUTO(recipe_freep) = NULL;
	struct reader r = {.directory = directory, .err = err};
	int e = recipe_new(&recipe, err);

	if (e < 0)
		return e;
	recipe->origin = strdup(origin);
	if (!recipe->origin)
		return fail(err, -ENOMEM, "out of memory");
	if (length > RECIPE_BYTES_MAX)
		return fail(err, -EINVAL, "%s: larger than %d KiB, which a recipe may have", origin,
			RECIPE_BYTES_MAX / 1024);
	r.recipe = recipe;
	e = read_all(&r, text, length);
	if (e == 0)
		e = keep_text(&r);
	buffer_done(&r.value);
	buffer_done(&r.text);
	if (e == 0)
		e = recipe_check(recipe, err);
	if (e == 0)
		*ret = TAKE_PTR(recipe);
	return e == -ENOMEM ? fail(err, e, "out of memory") : e;
}

int recipe_load(const char *path, struct recipe **ret, struct error *err)
{
	const char *slash = strrchr(path, '/');
	autofree char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	autofree char *text = NULL;
	size_t length;
	int e = directory ? file_read(AT_FDCWD, path, RECIPE_BYTES_MAX, &text, &length) : -ENOMEM;

	if (e == -EFBIG)
		return fail(err, -EINVAL, "%s: larger than %d KiB, which a recipe may have", path,
			RECIPE_BYTES_MAX / 1024);
	if (e < 0)
		return fail_errno(err, e, "cannot read the recipe '%s'", path);
	return recipe_parse(text, length, path, directory, ret, err);
}
