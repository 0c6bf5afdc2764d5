/* Manual pages, in the man(7) macros, which groff and mandoc read alike. */
#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "cli/verb.h"
#include "config.h"
#include "lib/parse.h"
#include "lib/roff.h"

#define DATE_MAX 16

/* The exit status, for verbs that run a command of the user's, and for all others. */
static const char exit_status_of_command[] =
	".TP\n\\fI0\\fR..\\fI255\\fR\nThat of the command; as a shell, 128 and the signal's number "
	"if it\ndied of a signal.\n"
	".TP\n124\nThe command ran into its time limit.\n"
	".TP\n125\nWNoDeS itself failed; one line on standard error says why.\n"
	".TP\n126\nThe command was found and cannot be run.\n"
	".TP\n127\nThe command was not found.\n";
static const char exit_status_plain[] =
	".TP\n0\nDone.\n"
	".TP\n125\nSomething failed; one line on standard error says why.\n";

/* The date of the page: the build's, so that the same source gives the same page. */
static void date_format(char text[DATE_MAX])
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	time_t now = time(NULL);
	uint64_t seconds;
	struct tm tm = {0};

	if (epoch && parse_number(epoch, 0, INT32_MAX, &seconds, NULL) == 0)
		now = (time_t)seconds;
	gmtime_r(&now, &tm);
	strftime(text, DATE_MAX, "%Y-%m-%d", &tm);
}

/* "wnodes\-image\-build", for the title in capitals. */
static void page_name_print(FILE *out, const char *verb_name, bool capitals)
{
	fputs(capitals ? "WNODES" : "wnodes", out);
	for (const char *p = verb_name; *p; p++) {
		if (p == verb_name || *p == ' ')
			fputs("\\-", out);
		if (*p == '-')
			fputs("\\-", out);
		else if (*p != ' ')
			putc(capitals ? toupper((unsigned char)*p) : *p, out);
	}
}

static void title_print(FILE *out, const char *verb_name)
{
	char date[DATE_MAX];

	date_format(date);
	fputs(".TH ", out);
	page_name_print(out, verb_name, true);
	fprintf(out, " 1 %s \"WNoDeS %s\" \"WNoDeS Manual\"\n", date, WNODES_VERSION);
}

/* Is this what a user replaces: capitals, or the word "options"? */
static bool token_is_variable(const char *token, size_t length)
{
	if (length == 7 && strncmp(token, "options", 7) == 0)
		return true;
	for (size_t i = 0; i < length; i++)
		if (!isupper((unsigned char)token[i]) && token[i] != '_' && token[i] != '-')
			return false;
	return isupper((unsigned char)token[0]);
}

/* "[options] -- COMMAND [ARG...]", "NAME[:TAG]": variables in italics, what is to be written as it
 * stands in bold, brackets and the like plain. */
static void syntax_print(FILE *out, const char *text)
{
	while (*text) {
		size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					"0123456789_-/");

		if (n == 0) {
			putc(*text++, out);
			continue;
		}
		fputs(token_is_variable(text, n) ? "\\fI" : "\\fB", out);
		for (size_t i = 0; i < n; i++)
			if (text[i] == '-')
				fputs("\\-", out);
			else
				putc(text[i], out);
		fputs("\\fR", out);
		text += n;
	}
}

static void option_print(FILE *out, const struct verb_option *o)
{
	fputs(".TP\n", out);
	if (o->letter)
		fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
	fputs("\\fB\\-\\-", out);
	roff_print_literal(out, o->name);
	fputs("\\fR", out);
	if (o->choices || o->argument) {
		putc(' ', out);
		syntax_print(out, o->choices ? o->choices : o->argument);
	}
	putc('\n', out);
	roff_print_text(out, o->help);
}

static void options_print(FILE *out, const struct verb *verb)
{
	struct verb_option help = {
		.name = "help", .letter = 'h', .help = "Shows usage, options and examples."};

	fputs(".SH OPTIONS\n", out);
	for (const struct verb_option *o = verb->options; o && o->name; o++) {
		option_print(out, o);
		if (o->letter == 'h')
			help.letter = 0;
	}
	option_print(out, &help);
}

static void example_line_print(FILE *out, const char *line)
{
	if (line[0] == '.')
		fputs("\\&", out);
	roff_print_literal(out, line);
	putc('\n', out);
}

/* Comments become text, command lines examples below them. */
static void examples_print(FILE *out, const char *examples)
{
	bool in_example = false, first = true;

	fputs(".SH EXAMPLES\n", out);
	for (; *examples; examples += strcspn(examples, "\n"), examples += *examples == '\n') {
		autofree char *line = strndup(examples, strcspn(examples, "\n"));
		const char *comment = line ? str_after(line, "# ") : NULL;

		if (!line || !*line)
			continue;
		if (in_example && comment)
			fputs(".EE\n.RE\n", out);
		if (!first && (comment || !in_example))
			fputs(".PP\n", out);
		if (!comment && !in_example)
			fputs(".RS 4\n.EX\n", out);
		if (comment)
			roff_print_text(out, comment);
		else
			example_line_print(out, line);
		in_example = !comment;
		first = false;
	}
	if (in_example)
		fputs(".EE\n.RE\n", out);
}

/* Verbs of the same group, else all that stand alone. */
static bool verb_is_related(const struct verb *a, const struct verb *b)
{
	size_t n = strcspn(a->name, " ");

	if (a->name[n])
		return strncmp(a->name, b->name, n + 1) == 0;
	return !strchr(b->name, ' ');
}

static void see_also_print(FILE *out, const struct verb *verb)
{
	fputs(".SH SEE ALSO\n\\fBwnodes\\fR(1)", out);
	for (size_t i = 0; verbs[i]; i++) {
		if (verbs[i] == verb || !verb_is_related(verb, verbs[i]))
			continue;
		fputs(",\n\\fB", out);
		page_name_print(out, verbs[i]->name, false);
		fputs("\\fR(1)", out);
	}
	putc('\n', out);
}

void verb_print_man(const struct verb *verb, FILE *out)
{
	bool runs_command = verb_count_before_dashes(verb) >= 0;

	title_print(out, verb->name);
	fputs(".SH NAME\n", out);
	page_name_print(out, verb->name, false);
	fputs(" \\- ", out);
	roff_print_inline(out, verb->summary);
	fputs("\n.SH SYNOPSIS\n\\fBwnodes ", out);
	roff_print_literal(out, verb->name);
	fputs("\\fR", out);
	if (verb->synopsis && *verb->synopsis) {
		putc(' ', out);
		syntax_print(out, verb->synopsis);
	}
	fputs("\n.SH DESCRIPTION\n", out);
	roff_print_text(out, verb->about ? verb->about : verb->summary);
	options_print(out, verb);
	fprintf(out, ".SH EXIT STATUS\n%s",
		runs_command ? exit_status_of_command : exit_status_plain);
	if (verb->examples)
		examples_print(out, verb->examples);
	see_also_print(out, verb);
}

static const char overview[] =
	".SH NAME\n"
	"wnodes \\- run commands in virtual machines\n"
	".SH SYNOPSIS\n"
	"\\fBwnodes\\fR \\fIVERB\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]\n"
	".br\n"
	"\\fBwnodes \\-\\-help\\fR\n"
	".br\n"
	"\\fBwnodes \\-\\-version\\fR\n"
	".SH DESCRIPTION\n"
	"WNoDeS (Worker Nodes on Demand Service) runs a command in a virtual machine\n"
	"as if it ran on the machine itself: as the same user, in the same directory,\n"
	"with the same input, output, signals and exit status.\n"
	"The virtual machine is a child of the command that started it: it ends with it.\n"
	".SH VERBS\n";

static const char overview_end[] =
	".SH EXIT STATUS\n"
	"125 whenever WNoDeS itself fails, a wrong command line included.\n"
	"Other values are those of the command that ran, or 0.\n"
	".SH FILES\n"
	".TP\n"
	"\\fI\\(ti/.config/wnodes/wnodes.conf\\fR, \\fI/etc/wnodes/wnodes.conf\\fR\n"
	"Settings; the user's override the system's.\n"
	".TP\n"
	"\\fI\\(ti/.local/share/wnodes\\fR, for root \\fI/var/lib/wnodes\\fR\n"
	"Images.\n"
	".TP\n"
	"\\fI$XDG_RUNTIME_DIR/wnodes\\fR, for root \\fI/run/wnodes\\fR\n"
	"Running virtual machines.\n";

void verb_print_overview_man(FILE *out)
{
	title_print(out, "");
	fputs(overview, out);
	for (size_t i = 0; verbs[i]; i++) {
		fputs(".TP\n\\fB", out);
		page_name_print(out, verbs[i]->name, false);
		fputs("\\fR(1)\n", out);
		roff_print_text(out, verbs[i]->summary);
	}
	fputs(overview_end, out);
}
