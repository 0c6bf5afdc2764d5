#include "bench/reading.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/printable.h"

/* "a, b": what does not fit is left out. */
static void add_text(char text[READING_TEXT_MAX], const char *first, const char *second)
{
	size_t length = strlen(text), room = READING_TEXT_MAX - length;
	int n = snprintf(text + length, room, "%s%s%s%s", length ? ", " : "", first,
		second[0] ? " " : "", second);

	if (n < 0 || (size_t)n >= room)
		text[length] = '\0';
}

void reading_set(struct reading *r, const struct trial *trial, const char *key, double value)
{
	int i = trial_find_figure(trial, key);

	if (i < 0 || !isfinite(value) || value < 0)
		return;
	r->values[i] = value;
	r->has[i] = true;
}

static void take_figure(struct reading *r, const struct trial *trial, const char *rest)
{
	char key[READING_LINE_MAX], *end;
	const char *blank = strchr(rest, ' ');
	double value;

	if (!blank || (size_t)(blank - rest) >= sizeof(key))
		return;
	snprintf(key, sizeof(key), "%.*s", (int)(blank - rest), rest);
	value = strtod(blank + 1, &end);
	if (end != blank + 1 && *end == '\0')
		reading_set(r, trial, key, value);
}

static void take_missing(struct reading *r, const char *rest)
{
	char package[READING_LINE_MAX] = "", program[READING_LINE_MAX];
	const char *blank = strchr(rest, ' ');

	snprintf(program, sizeof(program), "%.*s", (int)strcspn(rest, " "), rest);
	if (blank)
		snprintf(package, sizeof(package), "(Debian package %s)", blank + 1);
	add_text(r->missing, program, package);
}

enum reading_mark reading_take(
	struct reading *r, const struct trial *trial, char *line, const char **ret_key)
{
	const char *rest;

	printable_make_line(line, strlen(line));
	if ((rest = str_after(line, "figure ")))
		take_figure(r, trial, rest);
	else if ((rest = str_after(line, "program ")))
		add_text(r->programs, rest, "");
	else if ((rest = str_after(line, "size ")))
		add_text(r->size, rest, "");
	else if ((rest = str_after(line, "missing ")))
		take_missing(r, rest);
	else if ((*ret_key = str_after(line, "begin ")))
		return READING_BEGIN;
	else if ((*ret_key = str_after(line, "end ")))
		return READING_END;
	return READING_NO_MARK;
}
