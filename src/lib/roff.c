#include "lib/roff.h"

#define SOURCE_COLUMNS 76
#define BLANKS         " \t\n"

static const char *roff_escape(char c)
{
	switch (c) {
	case '\\':
		return "\\(rs";
	case '\'':
		return "\\(aq";
	case '"':
		return "\\(dq";
	case '`':
		return "\\(ga";
	case '^':
		return "\\(ha";
	case '~':
		return "\\(ti";
	default:
		return NULL;
	}
}

/* Is this a word that someone may copy into a terminal? Then its dashes must be ASCII ones. */
static bool word_is_literal(const char *word, size_t length)
{
	size_t i = 0;

	while (i < length && strchr("([\"'`", word[i]))
		i++;
	return (i < length && word[i] == '-') || memchr(word, '/', length) ||
	       memchr(word, '=', length) || strncmp(word + i, "wnodes-", 7) == 0;
}

static void roff_print_word(FILE *out, const char *word, size_t length, bool literal)
{
	for (size_t i = 0; i < length; i++) {
		const char *escaped = roff_escape(word[i]);

		if (escaped)
			fputs(escaped, out);
		else if (word[i] == '-' && literal)
			fputs("\\-", out);
		else
			putc(word[i], out);
	}
}

void roff_print_inline(FILE *out, const char *text)
{
	while (*text) {
		size_t blank = strspn(text, BLANKS), length = strcspn(text + blank, BLANKS);

		if (blank > 0)
			putc(' ', out);
		text += blank;
		roff_print_word(out, text, length, word_is_literal(text, length));
		text += length;
	}
}

void roff_print_literal(FILE *out, const char *text)
{
	roff_print_word(out, text, strlen(text), true);
}

/* Two line ends, with nothing but blanks between them. */
static bool blanks_end_paragraph(const char *blanks, size_t length)
{
	const char *line_end = memchr(blanks, '\n', length);

	return line_end && memchr(line_end + 1, '\n', length - (size_t)(line_end + 1 - blanks));
}

void roff_print_text(FILE *out, const char *text)
{
	size_t column = 0;

	text += strspn(text, BLANKS);
	while (*text) {
		size_t length = strcspn(text, BLANKS), blank = strspn(text + length, BLANKS);

		if (column > 0 && column + 1 + length > SOURCE_COLUMNS) {
			putc('\n', out);
			column = 0;
		} else if (column > 0) {
			putc(' ', out);
			column++;
		}
		/* A quote is escaped anyway; a dot at the start of a line makes it a request. */
		if (column == 0 && *text == '.')
			fputs("\\&", out);
		roff_print_word(out, text, length, word_is_literal(text, length));
		column += length;
		text += length + blank;
		if (*text && blanks_end_paragraph(text - blank, blank)) {
			fputs("\n.PP\n", out);
			column = 0;
		}
	}
	if (column > 0)
		putc('\n', out);
}
