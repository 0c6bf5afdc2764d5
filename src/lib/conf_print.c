/* The settings table as text: the example file and the manual page say what the parser accepts. */
#include <inttypes.h>

#include "lib/conf.h"
#include "lib/parse.h"
#include "lib/roff.h"

#define EXAMPLE_COLUMNS 78
#define NOTE_MAX        256

/* What a value looks like. */
static const char *value_name(const struct conf_setting *row)
{
	static const char *const names[] = {
		[CONF_STRING] = "TEXT",
		[CONF_STRINGS] = "TEXT",
		[CONF_NUMBER] = "NUMBER",
		[CONF_SIZE] = "SIZE",
		[CONF_DURATION] = "DURATION",
		[CONF_BOOL] = "yes|no",
		[CONF_WORDS] = "WORD[,WORD...]",
		[CONF_PATTERN] = "EXPRESSION",
	};

	return row->type == CONF_CHOICE ? row->choices : names[row->type];
}

static void limit_format(const struct conf_setting *row, uint64_t value, char text[FORMAT_MAX])
{
	if (row->type == CONF_SIZE)
		format_size(value, text);
	else if (row->type == CONF_DURATION)
		format_duration(value, text);
	else
		snprintf(text, FORMAT_MAX, "%" PRIu64, value);
}

/* The help and what the row itself says about its values, as one text. */
static char *row_describe(const struct conf_setting *row)
{
	char low[FORMAT_MAX], high[FORMAT_MAX], note[NOTE_MAX] = "", *text = NULL;

	limit_format(row, row->min, low);
	limit_format(row, row->max, high);
	if (row->max == UINT64_MAX)
		snprintf(note, sizeof(note), " At least %s.", low);
	else if (row->max > 0)
		snprintf(note, sizeof(note), " From %s to %s.", low, high);
	else if (row->type == CONF_STRINGS)
		snprintf(note, sizeof(note), " May be given several times.");
	else if (row->type == CONF_WORDS && row->choices)
		snprintf(note, sizeof(note), " Any of %s.", row->choices);
	else if (row->type == CONF_CHOICE)
		snprintf(note, sizeof(note), " One of %s.", row->choices);
	if (asprintf(&text, "%s%s", row->help, note) < 0)
		return NULL;
	return text;
}

static void comment_print(FILE *out, const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column > 0 && column + 1 + n > EXAMPLE_COLUMNS) {
			putc('\n', out);
			column = 0;
		}
		fputs(column ? " " : "# ", out);
		fwrite(text, 1, n, out);
		column += n + (column ? 1 : 2);
		text += n + strspn(text + n, " ");
	}
	putc('\n', out);
}

static void row_print_example(const struct conf_setting *row, FILE *out)
{
	autofree char *text = row_describe(row);

	putc('\n', out);
	comment_print(out, text ? text : row->help);
	fprintf(out, "#%s =%s%s\n", row->key, row->default_value ? " " : "",
		row->default_value ? row->default_value : "");
}

void conf_print_example(const struct conf_setting *table, FILE *out)
{
	const char *section = "";

	for (const struct conf_setting *row = table; row->key; row++) {
		if (!streq(section, row->section))
			fprintf(out, "%s[%s]\n", row == table ? "" : "\n", row->section);
		section = row->section;
		row_print_example(row, out);
	}
}

void conf_print_list_example(const struct conf_list *list, FILE *out)
{
	putc('\n', out);
	comment_print(out, list->help);
	fprintf(out, "#[%s NAME]\n", list->kind);
	for (const struct conf_setting *row = list->table; row->key; row++)
		row_print_example(row, out);
}

static void row_print_man(const struct conf_setting *row, FILE *out)
{
	autofree char *text = row_describe(row);

	fputs(".TP\n\\fB", out);
	roff_print_literal(out, row->key);
	fputs("\\fR = \\fI", out);
	roff_print_literal(out, value_name(row));
	fputs("\\fR", out);
	if (row->default_value && *row->default_value) {
		fputs(" (default: ", out);
		roff_print_literal(out, row->default_value);
		putc(')', out);
	}
	putc('\n', out);
	roff_print_text(out, text ? text : row->help);
}

void conf_print_man(const struct conf_setting *table, FILE *out)
{
	const char *section = "";

	for (const struct conf_setting *row = table; row->key; row++) {
		if (!streq(section, row->section))
			fprintf(out, ".SS [%s]\n", row->section);
		section = row->section;
		row_print_man(row, out);
	}
}

void conf_print_list_man(const struct conf_list *list, FILE *out)
{
	fprintf(out, ".SS [%s \\fINAME\\fR]\n", list->kind);
	roff_print_text(out, list->help);
	for (const struct conf_setting *row = list->table; row->key; row++)
		row_print_man(row, out);
}
