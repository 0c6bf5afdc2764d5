#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "lib/parse.h"
#include "lib/timestamp.h"

#define SECOND_US     1000000
#define COLUMNS_MAX   64
#define COLUMN_GAP    2
#define DIGEST_DIGITS 12
#define TIME_MAX      32
#define NUMBER_MAX    32
#define JSON_FLAGS    (JSON_INDENT(2) | JSON_PRESERVE_ORDER)

struct table {
	const struct table_column *columns;
	json_t *rows;
	bool begun;                 /* something was flushed */
	size_t widths[COLUMNS_MAX]; /* of what was */
};

struct table *table_new(const struct table_column *columns)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->columns = columns;
	t->rows = json_array();
	return t->rows ? t : table_free(t);
}

struct table *table_free(struct table *t)
{
	if (t)
		json_decref(t->rows);
	free(t);
	return NULL;
}

int table_add(struct table *t, json_t *row)
{
	return json_array_append_new(t->rows, row) < 0 ? -ENOMEM : 0;
}

json_t *table_rows(const struct table *t)
{
	return t->rows;
}

/* Decodes one character of valid UTF-8, which jansson's strings are. */
static uint32_t character_next(const char **text)
{
	const uint8_t *p = (const uint8_t *)*text;
	int more = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
	uint32_t c = more ? *p & (0x3fu >> more) : *p;

	for (p++; more > 0 && (*p & 0xc0) == 0x80; more--, p++)
		c = c << 6 | (*p & 0x3f);
	*text = (const char *)p;
	return c;
}

/* Would a terminal do more than show it? Control characters move the cursor or worse; the others
 * turn the direction of text around, so that it reads as something else. */
static bool character_is_harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
	       (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Returns a harmless copy for the caller to free, or NULL. */
static char *text_sanitise(const char *text)
{
	char *clean = malloc(strlen(text) + 1), *to = clean;

	while (clean && *text) {
		const char *from = text;

		if (character_is_harmful(character_next(&text))) {
			*to++ = '?';
			continue;
		}
		memcpy(to, from, (size_t)(text - from));
		to += text - from;
	}
	if (clean)
		*to = '\0';
	return clean;
}

static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; width++)
		character_next(&text);
	return width;
}

static char *number_format(enum table_format format, json_int_t number)
{
	char text[FORMAT_MAX + TIME_MAX];
	time_t seconds = (time_t)number;
	struct tm tm = {0};

	switch (format) {
	case TABLE_SIZE:
		format_size((uint64_t)number, text);
		break;
	case TABLE_DURATION:
		format_duration((uint64_t)number, text);
		break;
	case TABLE_TIME:
		localtime_r(&seconds, &tm);
		if (strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &tm) == 0)
			text[0] = '\0';
		break;
	default:
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, number);
		break;
	}
	return strdup(text);
}

static char *string_format(enum table_format format, const char *string)
{
	uint64_t us;

	if (format == TABLE_DIGEST)
		return strndup(string, DIGEST_DIGITS);
	if (format == TABLE_TIME && timestamp_parse(string, &us) == 0)
		return number_format(format, (json_int_t)(us / SECOND_US));
	return text_sanitise(string);
}

static char *value_format(enum table_format format, const json_t *value);

/* "a,b,c" */
static char *list_format(const json_t *list)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	for (size_t i = 0; out && i < json_array_size(list); i++) {
		autofree char *item = value_format(TABLE_TEXT, json_array_get(list, i));

		fprintf(out, "%s%s", i ? "," : "", item ? item : "");
	}
	if (out && fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* A member as a person reads it; empty if there is none. The caller frees; NULL: out of memory. */
static char *value_format(enum table_format format, const json_t *value)
{
	char text[NUMBER_MAX];

	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		return string_format(format, json_string_value(value));
	case JSON_INTEGER:
		return number_format(format, json_integer_value(value));
	case JSON_REAL:
		snprintf(text, sizeof(text), "%.2f", json_real_value(value));
		return strdup(text);
	case JSON_TRUE:
		return strdup("yes");
	case JSON_FALSE:
		return strdup("no");
	case JSON_ARRAY:
		return list_format(value);
	case JSON_OBJECT:
	case JSON_NULL:
		break;
	}
	return strdup("");
}

static char *cell_format(const struct table_column *column, const json_t *row)
{
	char *text = value_format(column->format, json_object_get(row, column->key));

	if (text && *text)
		return text;
	free(text);
	return strdup("-");
}

/* All texts of a table, row after row, the titles first. */
struct grid {
	const struct table_column *columns[COLUMNS_MAX];
	size_t column_count, row_count;
	char **cells;
	size_t widths[COLUMNS_MAX];
};

static void grid_done(struct grid *g)
{
	for (size_t i = 0; g->cells && i < g->column_count * g->row_count; i++)
		free(g->cells[i]);
	free(g->cells);
}

static int grid_init(struct grid *g, const struct table *t)
{
	for (const struct table_column *c = t->columns; c->key; c++)
		if (c->title && g->column_count < ARRAY_SIZE(g->columns))
			g->columns[g->column_count++] = c;
	memcpy(g->widths, t->widths, sizeof(g->widths));
	g->row_count = json_array_size(t->rows) + 1;
	g->cells = calloc(g->column_count * g->row_count + 1, sizeof(*g->cells));
	if (!g->cells)
		return -ENOMEM;
	for (size_t r = 0; r < g->row_count; r++)
		for (size_t c = 0; c < g->column_count; c++) {
			const struct table_column *column = g->columns[c];
			char *text = r == 0 ? strdup(column->title)
					    : cell_format(column, json_array_get(t->rows, r - 1));

			if (!text)
				return -ENOMEM;
			g->cells[r * g->column_count + c] = text;
			g->widths[c] = MAX_OF(g->widths[c], text_width(text));
		}
	return 0;
}

static bool column_is_right(const struct table_column *column)
{
	return column->format == TABLE_NUMBER || column->format == TABLE_SIZE ||
	       column->format == TABLE_DURATION;
}

static void grid_print(const struct grid *g, size_t first_row, FILE *out)
{
	for (size_t r = first_row; r < g->row_count; r++) {
		for (size_t c = 0; c < g->column_count; c++) {
			const char *text = g->cells[r * g->column_count + c];
			int pad = (int)(g->widths[c] - text_width(text));
			bool right = column_is_right(g->columns[c]);
			bool last = c + 1 == g->column_count;

			fprintf(out, "%*s%s%*s", right ? pad : 0, "", text,
				last    ? 0
				: right ? COLUMN_GAP
					: pad + COLUMN_GAP,
				"");
		}
		putc('\n', out);
	}
}

int table_print(const struct table *t, FILE *out)
{
	struct grid g AUTO(grid_done) = {0};

	if (grid_init(&g, t) < 0)
		return -ENOMEM;
	grid_print(&g, 0, out);
	return 0;
}

int table_flush(struct table *t, FILE *out)
{
	struct grid g AUTO(grid_done) = {0};

	if (grid_init(&g, t) < 0)
		return -ENOMEM;
	grid_print(&g, t->begun ? 1 : 0, out);
	memcpy(t->widths, g.widths, sizeof(t->widths));
	t->begun = true;
	json_array_clear(t->rows);
	return 0;
}

int table_flush_json(struct table *t, bool last, FILE *out)
{
	const json_t *row;
	size_t i;

	json_array_foreach(t->rows, i, row)
	{
		fputs(t->begun ? ",\n" : "[\n", out);
		t->begun = true;
		if (json_dumpf(row, out, JSON_COMPACT | JSON_PRESERVE_ORDER) < 0)
			return ferror(out) ? -EIO : -ENOMEM;
	}
	if (last)
		fputs(t->begun ? "\n]\n" : "[]\n", out);
	json_array_clear(t->rows);
	return 0;
}

int table_print_record(const struct table *t, FILE *out)
{
	const json_t *row = json_array_get(t->rows, 0);
	size_t width = 0;

	for (const struct table_column *c = t->columns; c->key; c++)
		if (c->title)
			width = MAX_OF(width, text_width(c->title));
	for (const struct table_column *c = t->columns; c->key && row; c++) {
		autofree char *text = NULL;

		if (!c->title)
			continue;
		text = cell_format(c, row);
		if (!text)
			return -ENOMEM;
		fprintf(out, "%s:%*s%s\n", c->title,
			(int)(width - text_width(c->title)) + COLUMN_GAP, "", text);
	}
	return 0;
}

static int json_print(const json_t *value, FILE *out)
{
	if (json_dumpf(value, out, JSON_FLAGS) < 0)
		return ferror(out) ? -EIO : -ENOMEM;
	putc('\n', out);
	return 0;
}

int table_print_json(const struct table *t, FILE *out)
{
	return json_print(t->rows, out);
}

int table_print_json_record(const struct table *t, FILE *out)
{
	const json_t *row = json_array_get(t->rows, 0);

	return row ? json_print(row, out) : -ENOENT;
}

void table_print_member(const struct table *t, const char *key, FILE *out)
{
	for (size_t i = 0; i < json_array_size(t->rows); i++) {
		const json_t *row = json_array_get(t->rows, i);
		autofree char *text = value_format(TABLE_TEXT, json_object_get(row, key));

		if (text && *text)
			fprintf(out, "%s\n", text);
	}
}
