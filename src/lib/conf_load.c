/* Reads configuration files.
 *
 * libinih does the syntax. It is given its lines by conf_read_line(), for these reasons: it does
 * not tell its handler the line number; a line longer than its buffer would be cut in two without a
 * word, as would be the name of a section; an indented "key = value" would be taken as a
 * continuation of the line before; and of a section without a key it says nothing.
 */
#include <ctype.h>
#include <errno.h>
#include <ini.h>

#include "lib/conf.h"
#include "lib/nearest.h"

/* The longest name of a section that libinih does not cut. */
#define SECTION_MAX 49

/* Sections of one list. */
#define ITEMS_MAX 4096

/* A file being read. */
struct conf_parser {
	const struct conf_setting *table;
	void *settings;
	struct conf_list *list; /* NULL: there are no sections with a name */
	FILE *file;
	bool *seen;     /* rows of `table` that this file has set */
	int line;       /* that the parser is at */
	int error_line; /* 0: no error of ours so far */
	struct error error;
};

static int parser_fail(struct conf_parser *p)
{
	p->error_line = p->line;
	return 0;
}

/* What follows "KIND" in the header of a section with a name, and the list of its kind; NULL: it is
 * another section. */
static const char *section_name(
	const struct conf_parser *p, const char *section, struct conf_list **ret)
{
	for (struct conf_list *list = p->list; list; list = list->next) {
		const char *rest = str_after(section, list->kind);

		if (rest && (*rest == '\0' || *rest == ' ' || *rest == '\t')) {
			*ret = list;
			return rest + strspn(rest, " \t");
		}
	}
	return NULL;
}

static size_t table_rows(const struct conf_setting *table)
{
	size_t rows = 0;

	while (table[rows].key)
		rows++;
	return rows;
}

static int item_check_name(const struct conf_list *list, const char *name, struct error *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";

	if (!*name)
		return fail(err, -EINVAL, "the section has no name; write [%s NAME]", list->kind);
	if (name[strspn(name, allowed)])
		return fail(err, -EINVAL,
			"'%s' is no name of a section: it may have letters, digits, '.', '_' and '-'",
			name);
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i].name, name))
			return fail(err, -EINVAL, "[%s %s] stands in line %d already", list->kind,
				name, list->items[i].line);
	if (list->count == ITEMS_MAX)
		return fail(err, -EINVAL, "more than %d sections [%s ...]", ITEMS_MAX, list->kind);
	return 0;
}

static void item_done(const struct conf_list *list, struct conf_item *item)
{
	if (item->settings)
		conf_done(list->table, item->settings);
	free(item->settings);
	free(item->given);
	free(item->name);
}

static bool list_has(const struct conf_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i].name, name))
			return true;
	return false;
}

int conf_list_append(struct conf_list *list, struct conf_list *from)
{
	size_t most = list->count + from->count, kept = 0;
	struct conf_item *grown = reallocarray(list->items, most + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	list->items = grown;
	for (size_t i = 0; i < from->count; i++) {
		struct conf_item *item = &from->items[i];

		if (list_has(list, item->name))
			from->items[kept++] = *item;
		else
			grown[list->count++] = *item;
	}
	from->count = kept;
	return 0;
}

void conf_list_done(struct conf_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		item_done(list, &list->items[i]);
	free(list->items);
	list->items = NULL;
	list->count = 0;
}

static int item_add(struct conf_list *list, const char *name, int line, struct error *err)
{
	struct conf_item item = {.name = strdup(name), .line = line};
	struct conf_item *grown = reallocarray(list->items, list->count + 1, sizeof(*grown));
	int r = 0;

	if (grown)
		list->items = grown;
	item.settings = calloc(1, list->size);
	item.given = calloc(table_rows(list->table) + 1, sizeof(*item.given));
	if (!grown || !item.name || !item.settings || !item.given)
		r = fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = conf_init(list->table, item.settings, err);
	if (r < 0)
		item_done(list, &item);
	else
		list->items[list->count++] = item;
	return r;
}

/* The header of a section, between its brackets. */
static void on_header(struct conf_parser *p, const char *section)
{
	struct conf_list *list = NULL;
	const char *name = section_name(p, section, &list);
	int r = 0;

	if (strlen(section) > SECTION_MAX)
		r = fail(
			&p->error, -EINVAL, "the name of a section is above %d bytes", SECTION_MAX);
	else if (name && list->refused)
		r = fail(&p->error, -EINVAL, "[%s]: %s", section, list->refused);
	else if (name)
		r = item_check_name(list, name, &p->error);
	if (r == 0 && name)
		r = item_add(list, name, p->line, &p->error);
	if (r < 0)
		parser_fail(p);
}

/* What libinih sees as such, too: it skips a byte order mark. */
static void read_header(struct conf_parser *p, char *line)
{
	char *start = line, *end;

	if (p->line == 1 && str_after(line, "\xef\xbb\xbf"))
		start += 3;
	end = *start == '[' ? strchr(start, ']') : NULL;
	if (!end)
		return;
	*end = '\0';
	on_header(p, start + 1);
	*end = ']';
}

/* Says what is there instead of an unknown key; `kind` is the section in the table. */
static int key_unknown(struct conf_parser *p, const struct conf_setting *table, const char *section,
	const char *kind, const char *key)
{
	struct nearest nearest = {.word = key};
	char known[ERROR_TEXT_MAX / 2] = "";
	size_t used = 0;

	for (const struct conf_setting *row = table; row->key; row++)
		if (streq(row->section, kind)) {
			nearest_offer(&nearest, row->key);
			if (used < sizeof(known))
				used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					used ? ", " : "", row->key);
		}
	if (nearest_get(&nearest))
		fail(&p->error, -EINVAL, "unknown key '%s' in [%s]; did you mean '%s'?", key,
			section, nearest_get(&nearest));
	else
		fail(&p->error, -EINVAL, "unknown key '%s' in [%s]; it has %s", key, section,
			known);
	return parser_fail(p);
}

static bool section_is_known(const struct conf_parser *p, const char *section)
{
	for (const struct conf_setting *row = p->table; row->key; row++)
		if (streq(row->section, section))
			return true;
	return false;
}

static int section_unknown(struct conf_parser *p, const char *section, const char *key)
{
	struct nearest nearest = {.word = section};
	char known[ERROR_TEXT_MAX / 2] = "";
	const char *last = "";
	size_t used = 0;

	for (const struct conf_setting *row = p->table; row->key; row++) {
		nearest_offer(&nearest, row->section);
		if (!streq(last, row->section) && used < sizeof(known))
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s[%s]",
				used ? ", " : "", row->section);
		last = row->section;
	}
	for (const struct conf_list *list = p->list; list; list = list->next)
		if (!list->refused && used < sizeof(known))
			used += (size_t)snprintf(
				known + used, sizeof(known) - used, ", [%s NAME]", list->kind);
	if (!*section)
		fail(&p->error, -EINVAL, "'%s' stands before any section; there are %s", key,
			known);
	else if (nearest_get(&nearest))
		fail(&p->error, -EINVAL, "unknown section [%s]; did you mean [%s]?", section,
			nearest_get(&nearest));
	else
		fail(&p->error, -EINVAL, "unknown section [%s]; there are %s", section, known);
	return parser_fail(p);
}

/* Where the settings of a section go. */
struct conf_target {
	const struct conf_setting *table;
	const char *kind; /* the section in the table */
	void *settings;
	bool *seen;
};

static int setting_set(struct conf_parser *p, const struct conf_target *to, const char *section,
	const char *key, const char *value)
{
	const struct conf_setting *row = to->table;
	bool is_list, *seen;

	while (row->key && !(streq(row->section, to->kind) && streq(row->key, key)))
		row++;
	if (!row->key)
		return key_unknown(p, to->table, section, to->kind, key);
	is_list = row->type == CONF_STRINGS || row->type == CONF_WORDS;
	seen = &to->seen[row - to->table];
	if (is_list && !*seen)
		conf_clear(row, to->settings);
	if (!is_list && *seen) {
		fail(&p->error, -EINVAL, "%s is set a second time in this %s", key,
			to->table == p->table ? "file" : "section");
		return parser_fail(p);
	}
	*seen = true;
	if (conf_set(row, to->settings, value, &p->error) >= 0)
		return 1;
	fail_within(&p->error, "%s", key);
	return parser_fail(p);
}

/* Called by libinih for each "key = value"; 0 means refused. */
static int on_setting(void *userdata, const char *section, const char *key, const char *value)
{
	struct conf_parser *p = userdata;
	struct conf_target to = {p->table, section, p->settings, p->seen};
	struct conf_list *list;

	if (p->error_line)
		return 0;
	/* Its header has been read, and is the last. */
	if (section_name(p, section, &list)) {
		const struct conf_item *item = &list->items[list->count - 1];

		to = (struct conf_target){list->table, list->kind, item->settings, item->given};
	} else if (!section_is_known(p, section)) {
		return section_unknown(p, section, key);
	}
	return setting_set(p, &to, section, key, value);
}

/* fgets(3) for libinih: one line without its indentation and end. */
static char *conf_read_line(char *line, int size, void *userdata)
{
	struct conf_parser *p = userdata;
	int c, used = 0;

	c = p->error_line ? EOF : getc(p->file);
	if (c == EOF)
		return NULL;
	p->line++;
	for (; c != EOF && c != '\n'; c = getc(p->file)) {
		if (used == 0 && isspace(c))
			continue;
		if (c == '\0' || used >= size - 3) {
			fail(&p->error, -EINVAL,
				c ? "line above %d bytes" : "not text: a zero byte", size - 3);
			parser_fail(p);
			return NULL;
		}
		line[used++] = (char)c;
	}
	line[used] = '\0';
	read_header(p, line);
	return p->error_line ? NULL : line;
}

static int parser_run(struct conf_parser *p, const char *path, struct error *err)
{
	int line = ini_parse_stream(conf_read_line, p, on_setting, p);

	if (ferror(p->file))
		return fail_errno(err, -EIO, "cannot read '%s'", path);
	if (line < 0)
		return fail(err, -ENOMEM, "%s: out of memory", path);
	if (p->error_line && (line == 0 || line >= p->error_line))
		return fail(err, p->error.code, "%s:%d: %s", path, p->error_line, p->error.text);
	if (line > 0)
		return fail(err, -EINVAL, "%s:%d: neither [section] nor key = value", path, line);
	return 0;
}

int conf_load_list(const struct conf_setting *table, void *settings, struct conf_list *list,
	const char *path, struct error *err)
{
	struct conf_parser parser = {.table = table, .settings = settings, .list = list};
	autofree bool *seen = calloc(table_rows(table) + 1, sizeof(*seen));
	int r;

	if (!seen)
		return fail(err, -ENOMEM, "out of memory");
	parser.seen = seen;
	parser.file = fopen(path, "re");
	if (!parser.file)
		return fail_errno(err, -errno, "cannot open '%s'", path);
	r = parser_run(&parser, path, err);
	fclose(parser.file);
	return r;
}

int conf_load(const struct conf_setting *table, void *settings, const char *path, struct error *err)
{
	return conf_load_list(table, settings, NULL, path, err);
}
