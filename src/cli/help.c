/* --help: short enough for a screen, in 80 columns. The whole text is in the manual. */
#include <stdio.h>

#include "cli/verb.h"

#define COLUMNS       79 /* terminals wrap at 80 */
#define OPTION_INDENT 28
#define BLANKS        " \t\n"

/* Writes text filled to COLUMNS, with `indent` blanks before each line; the cursor is at `column`.
 * Stops at a blank line if `first_paragraph`. */
static void text_print(
	FILE *out, const char *text, size_t indent, size_t column, bool first_paragraph)
{
	while (*text) {
		size_t length = strcspn(text, BLANKS);
		size_t blank = strspn(text + length, BLANKS);
		const char *newline = memchr(text + length, '\n', blank);

		if (column > indent && column + 1 + length > COLUMNS) {
			putc('\n', out);
			column = 0;
		}
		if (column > indent)
			column += (size_t)fprintf(out, " ");
		else
			column += (size_t)fprintf(out, "%*s", (int)(indent - column), "");
		fwrite(text, 1, length, out);
		column += length;
		text += length + blank;
		if (newline && memchr(newline + 1, '\n', (size_t)(text - newline - 1))) {
			if (first_paragraph)
				break;
			fputs("\n\n", out);
			column = 0;
		}
	}
	putc('\n', out);
}

/* "  -i, --image NAME[:TAG]" */
static void option_print(FILE *out, const struct verb_option *o)
{
	const char *value = o->choices ? o->choices : o->argument;
	char letter[8] = "    ", left[128];
	size_t width;

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	width = (size_t)snprintf(left, sizeof(left), "  %s--%s%s%s", letter, o->name,
		value ? " " : "", value ? value : "");
	fputs(left, out);
	if (width + 2 > OPTION_INDENT) {
		putc('\n', out);
		width = 0;
	}
	text_print(out, o->help, OPTION_INDENT, width, false);
}

static void options_print(FILE *out, const struct verb *verb)
{
	static const struct verb_option help = {
		.name = "help", .letter = 'h', .help = "Shows this text"};
	struct verb_option last = help;

	fputs("\nOptions:\n", out);
	for (const struct verb_option *o = verb->options; o && o->name; o++) {
		option_print(out, o);
		/* A verb may have another use for the letter. */
		if (o->letter == 'h')
			last.letter = 0;
	}
	option_print(out, &last);
}

static void examples_print(FILE *out, const char *examples)
{
	fputs("\nExamples:\n", out);
	while (*examples) {
		size_t n = strcspn(examples, "\n");

		if (n > 0)
			fprintf(out, "  %.*s", (int)n, examples);
		putc('\n', out);
		examples += n + (examples[n] == '\n');
	}
}

/* "wnodes-image-build" */
static void page_name_print(FILE *out, const char *name)
{
	fputs("wnodes-", out);
	for (; *name; name++)
		putc(*name == ' ' ? '-' : *name, out);
}

void verb_print_help(const struct verb *verb, FILE *out)
{
	fprintf(out, "Usage: wnodes %s", verb->name);
	if (verb->synopsis && *verb->synopsis)
		fprintf(out, " %s", verb->synopsis);
	fputs("\n\n", out);
	text_print(out, verb->about ? verb->about : verb->summary, 0, 0, true);
	options_print(out, verb);
	if (verb->examples)
		examples_print(out, verb->examples);
	fputs("\nMore in the manual: man ", out);
	page_name_print(out, verb->name);
	putc('\n', out);
}

static bool verb_in_group(const struct verb *verb, const char *group)
{
	const char *rest = group ? str_after(verb->name, group) : " ";

	return rest && *rest == ' ';
}

void verb_print_overview(const char *group, FILE *out)
{
	const struct verb *example = NULL;
	int width = 0;

	for (size_t i = 0; verbs[i]; i++)
		if (verb_in_group(verbs[i], group)) {
			width = MAX_OF(width, (int)strlen(verbs[i]->name));
			example = example ? example : verbs[i];
		}
	fprintf(out, "Usage: wnodes %s%sVERB [options] [arguments]\n\n", group ? group : "",
		group ? " " : "");
	if (!group)
		fputs("Runs commands in virtual machines, as the user that you are.\n\n", out);
	fputs("Verbs:\n", out);
	for (size_t i = 0; verbs[i]; i++) {
		if (!verb_in_group(verbs[i], group))
			continue;
		fprintf(out, "  %-*s", width, verbs[i]->name);
		text_print(out, verbs[i]->summary, (size_t)width + 4, (size_t)width + 2, false);
	}
	fprintf(out, "\nEach verb has --help and a manual, for example: man ");
	page_name_print(out, example ? example->name : "");
	putc('\n', out);
}

struct help_options {
	bool man;
};

static const struct verb_option help_options[] = {
	{"man", 0, OPTION_FLAG, offsetof(struct help_options, man), NULL, NULL, NULL,
		"Prints the source of the manual page (roff)"},
	{.name = NULL},
};

static int help_run(const void *options, int arg_count, const char *const *args)
{
	const struct help_options *o = options;
	int words = 0;
	const struct verb *verb = verb_find(arg_count, args, &words);
	bool group = arg_count == 1 && verb_is_group(args[0]);

	if (arg_count > words && !group)
		return verb_report_unknown(arg_count, args);
	if (verb && o->man)
		verb_print_man(verb, stdout);
	else if (verb)
		verb_print_help(verb, stdout);
	else if (o->man)
		verb_print_overview_man(stdout);
	else
		verb_print_overview(group ? args[0] : NULL, stdout);
	return 0;
}

const struct verb verb_help = {
	.name = "help",
	.synopsis = "[options] [VERB]",
	.summary = "Show what a verb does, or list all verbs",
	.about = "Without a verb, lists all verbs. With one, shows its usage, its options and "
		 "examples, as --help does.",
	.examples = "wnodes help\n"
		    "wnodes help image build\n"
		    "# The manual page, without installing it\n"
		    "wnodes help --man run | man -l -\n",
	.options = help_options,
	.options_size = sizeof(struct help_options),
	.max_args = 2,
	.args_complete = "verb",
	.run = help_run,
};
