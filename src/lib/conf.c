/* Settings from INI files.
 *
 * libinih does the syntax. It is given its lines by conf_read_line(), for three reasons: it does
 * not tell its handler the line number; a line longer than its buffer would be cut in two without
 * a word; and an indented "key = value" would be taken as a continuation of the line before.
 */
#include "lib/conf.h"

#include <errno.h>
#include <ini.h>

#include "lib/nearest.h"
#include "lib/parse.h"

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

int conf_set(const struct conf_setting *row, void *settings, const char *text, struct error *err)
{
	void *member = (char *)settings + row->offset;
	int r;

	switch (row->type) {
	case CONF_STRING:
		return string_set(member, text, err);
	case CONF_STRINGS:
		return strings_append(member, text, err);
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
		int r = 0;

		/* Lists are never NULL, so that readers need not ask. */
		if (!value && row->type == CONF_STRINGS)
			value = "";
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

		if (row->type == CONF_STRINGS)
			strings_free(member);
		if (row->type == CONF_STRING || row->type == CONF_CHOICE) {
			free(*(char **)member);
			*(char **)member = NULL;
		}
	}
}

/* A file being read. */
struct conf_parser {
	const struct conf_setting *table;
	void *settings;
	FILE *file;
	bool *seen;     /* rows that this file has set */
	int line;       /* that the parser is at */
	int error_line; /* 0: no error of ours so far */
	struct error error;
};

static int parser_fail(struct conf_parser *p)
{
	p->error_line = p->line;
	return 0;
}

/* Says what is there instead of an unknown key. */
static int key_unknown(struct conf_parser *p, const char *section, const char *key)
{
	struct nearest nearest = {.word = key};
	char known[ERROR_TEXT_MAX / 2] = "";
	size_t used = 0;

	for (const struct conf_setting *row = p->table; row->key; row++)
		if (streq(row->section, section)) {
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

/* Called by libinih for each "key = value"; 0 means refused. */
static int on_setting(void *userdata, const char *section, const char *key, const char *value)
{
	struct conf_parser *p = userdata;
	const struct conf_setting *row = p->table;

	if (p->error_line)
		return 0;
	if (!section_is_known(p, section))
		return section_unknown(p, section, key);
	while (row->key && !(streq(row->section, section) && streq(row->key, key)))
		row++;
	if (!row->key)
		return key_unknown(p, section, key);
	if (row->type == CONF_STRINGS && !p->seen[row - p->table])
		strings_free((char ***)(void *)((char *)p->settings + row->offset));
	if (row->type != CONF_STRINGS && p->seen[row - p->table]) {
		fail(&p->error, -EINVAL, "%s is set a second time in this file", key);
		return parser_fail(p);
	}
	p->seen[row - p->table] = true;
	if (conf_set(row, p->settings, value, &p->error) >= 0)
		return 1;
	fail_within(&p->error, "%s", key);
	return parser_fail(p);
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
		if (used == 0 && (c == ' ' || c == '\t'))
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
	return line;
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

int conf_load(const struct conf_setting *table, void *settings, const char *path, struct error *err)
{
	struct conf_parser parser = {.table = table, .settings = settings};
	autofree bool *seen = NULL;
	size_t rows = 0;
	int r;

	while (table[rows].key)
		rows++;
	seen = calloc(rows + 1, sizeof(*seen));
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
