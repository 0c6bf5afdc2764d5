/* Options, by getopt_long(3) and a verb's table. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>

#include "cli/verb.h"
#include "lib/nearest.h"
#include "lib/parse.h"

/* What getopt_long() returns for the option in row i is LONG_FIRST + i; letters are below. */
#define LONG_FIRST 256

/* Values of one OPTION_LIST. */
#define LIST_MAX 4096

static int options_count(const struct verb *verb)
{
	int n = 0;

	while (verb->options && verb->options[n].name)
		n++;
	return n;
}

int verb_count_before_dashes(const struct verb *verb)
{
	const char *token = verb->synopsis;
	int words = 0;

	while (token && *token) {
		size_t n = strcspn(token, " ");

		if (n == 2 && strncmp(token, "--", 2) == 0)
			return words;
		words += *token != '[';
		token += n + strspn(token + n, " ");
	}
	return -1;
}

static int list_add(struct verb_list *list, const char *text, struct error *err)
{
	const char **grown;

	if (list->count >= LIST_MAX)
		return fail(err, -EINVAL, "given more than %d times", LIST_MAX);
	grown = reallocarray(list->items, list->count + 2, sizeof(*grown));
	if (!grown)
		return fail(err, -ENOMEM, "out of memory");
	list->items = grown;
	grown[list->count++] = text;
	grown[list->count] = NULL;
	return 0;
}

static int option_set(
	const struct verb_option *o, void *options, const char *text, struct error *err)
{
	void *member = (char *)options + o->offset;
	int r = 0;

	if (o->given > 0)
		*(bool *)((char *)options + o->given) = true;
	switch (o->type) {
	case OPTION_FLAG:
		*(bool *)member = true;
		return 0;
	case OPTION_LIST:
		return list_add(member, text, err);
	case OPTION_CHOICE:
		r = parse_choice(text, o->choices, err);
		if (r >= 0)
			*(const char **)member = text;
		return r;
	case OPTION_STRING:
		*(const char **)member = text;
		return 0;
	case OPTION_NUMBER:
		return parse_quantity(PARSE_NUMBER, text, o->min, o->max, member, err);
	case OPTION_SIZE:
		return parse_quantity(PARSE_SIZE, text, o->min, o->max, member, err);
	case OPTION_DURATION:
		return parse_quantity(PARSE_DURATION, text, o->min, o->max, member, err);
	}
	return fail(err, -EINVAL, "has no type");
}

/* The table in getopt's form. */
struct getopt_table {
	struct option *longs;
	char *shorts;
};

static void getopt_table_done(struct getopt_table *t)
{
	free(t->longs);
	free(t->shorts);
}

static int getopt_table_init(struct getopt_table *t, const struct verb *verb)
{
	int n = options_count(verb);
	char *letter;

	t->longs = calloc((size_t)n + 2, sizeof(*t->longs));
	t->shorts = calloc(2 * (size_t)n + 4, 1);
	if (!t->longs || !t->shorts)
		return -ENOMEM;
	letter = t->shorts;
	/* '+': the first positional argument ends the options; ':': tell a missing value from an
	 * unknown option, and print nothing. */
	if (verb_count_before_dashes(verb) >= 0)
		*letter++ = '+';
	*letter++ = ':';
	for (int i = 0; i < n; i++) {
		const struct verb_option *o = &verb->options[i];
		int has_arg = o->type == OPTION_FLAG ? no_argument : required_argument;

		t->longs[i] = (struct option){o->name, has_arg, NULL, LONG_FIRST + i};
		if (o->letter)
			*letter++ = o->letter;
		if (o->letter && has_arg)
			*letter++ = ':';
	}
	t->longs[n] = (struct option){"help", no_argument, NULL, 'h'};
	*letter = 'h';
	return 0;
}

/* The row for a value of getopt_long(), or NULL. */
static const struct verb_option *option_find(const struct verb *verb, int value)
{
	int n = options_count(verb);

	if (value >= LONG_FIRST)
		return value - LONG_FIRST < n ? &verb->options[value - LONG_FIRST] : NULL;
	for (int i = 0; i < n; i++)
		if (value && verb->options[i].letter == value)
			return &verb->options[i];
	return NULL;
}

/* `word` is the argument with the unknown option, `letter` is not 0 if it is a short one. */
static int report_unknown(const struct verb *verb, const char *word, int letter, struct error *err)
{
	autofree char *name = strndup(word, strcspn(word, "="));
	struct nearest nearest = {.word = name ? str_after(name, "--") : NULL};

	if (letter)
		return fail(err, -EINVAL, "unknown option -%c; see wnodes %s --help", letter,
			verb->name);
	for (int i = 0; nearest.word && i < options_count(verb); i++)
		nearest_offer(&nearest, verb->options[i].name);
	if (nearest.word && nearest_get(&nearest))
		return fail(err, -EINVAL, "unknown option %s; did you mean --%s?", name,
			nearest_get(&nearest));
	return fail(err, -EINVAL, "unknown option %s; see wnodes %s --help", name ? name : word,
		verb->name);
}

/* What getopt_long() refused: `value` is what it returned. */
static int report_refused(const struct verb *verb, int value, const char *word, struct error *err)
{
	const struct verb_option *o = option_find(verb, optopt);

	if (optopt == 'h')
		return fail(err, -EINVAL, "--help takes no value");
	if (!o)
		return report_unknown(verb, word, optopt, err);
	if (value == ':')
		return fail(err, -EINVAL, "--%s needs a value: --%s %s", o->name, o->name,
			o->choices ? o->choices : o->argument);
	return fail(err, -EINVAL, "--%s takes no value", o->name);
}

/* Parses words[1...]; words[0] stands for the program. Returns the index behind the options. */
static int options_parse(const struct verb *verb, int count, const char **words, void *options,
	bool *ret_help, struct error *err)
{
	struct getopt_table table AUTO(getopt_table_done) = {0};
	char *const *argv = (char *const *)(uintptr_t)words;
	int value;

	if (getopt_table_init(&table, verb) < 0)
		return fail(err, -ENOMEM, "out of memory");
	optind = 0; /* start anew */
	while ((value = getopt_long(count, argv, table.shorts, table.longs, NULL)) != -1) {
		const struct verb_option *o = option_find(verb, value);
		int r;

		if (value == '?' || value == ':')
			return report_refused(verb, value, words[optind - 1], err);
		if (!o) {
			*ret_help = true;
			return optind;
		}
		r = option_set(o, options, optarg, err);
		if (r < 0) {
			fail_within(err, "--%s", o->name);
			return r;
		}
	}
	return optind;
}

static int args_check(
	const struct verb *verb, int count, const char *const *args, struct error *err)
{
	const char *blank = verb->synopsis && *verb->synopsis ? " " : "";
	const char *synopsis = verb->synopsis ? verb->synopsis : "";

	if (count < verb->min_args)
		return fail(err, -EINVAL, "too few arguments; write: wnodes %s%s%s", verb->name,
			blank, synopsis);
	if (verb->max_args >= 0 && count > verb->max_args)
		return fail(err, -EINVAL, "unexpected argument '%s'; write: wnodes %s%s%s",
			args[verb->max_args], verb->name, blank, synopsis);
	return 0;
}

int verb_parse(const struct verb *verb, int argc, const char **argv, void *options, bool *ret_help,
	struct error *err)
{
	autofree const char **words = calloc((size_t)argc + 2, sizeof(*words));
	int before = verb_count_before_dashes(verb), first, r;

	*ret_help = false;
	if (!words)
		return fail(err, -ENOMEM, "out of memory");
	words[0] = "wnodes";
	memcpy(words + 1, argv, (size_t)argc * sizeof(*words));
	first = options_parse(verb, argc + 1, words, options, ret_help, err);
	if (first < 0 || *ret_help)
		return first < 0 ? first : 0;
	/* The "--" of "VM -- COMMAND": what stands before moves up by one. */
	if (before > 0 && first + before <= argc && streq(words[first + before], "--")) {
		memmove(&words[first + 1], &words[first], (size_t)before * sizeof(*words));
		first++;
	}
	memcpy(argv, words + 1, (size_t)argc * sizeof(*words));
	r = args_check(verb, argc + 1 - first, words + first, err);
	return r < 0 ? r : first - 1;
}

/* 5400000001 us as "5400.000001s". */
static void unparse_number(const struct verb_option *o, uint64_t value, struct strv *ret)
{
	if (o->type == OPTION_DURATION)
		strv_add_format(ret, "--%s=%" PRIu64 ".%06" PRIu64 "s", o->name, value / 1000000,
			value % 1000000);
	else
		strv_add_format(ret, "--%s=%" PRIu64, o->name, value);
}

static void unparse_list(
	const struct verb_option *o, const struct verb_list *list, struct strv *ret)
{
	for (size_t i = 0; i < list->count; i++)
		strv_add_format(ret, "--%s=%s", o->name, list->items[i]);
}

static void option_unparse(const struct verb_option *o, const void *options, struct strv *ret)
{
	const void *member = (const char *)options + o->offset;
	bool given = o->given > 0 && *(const bool *)((const char *)options + o->given);

	switch (o->type) {
	case OPTION_FLAG:
		if (*(const bool *)member)
			strv_add_format(ret, "--%s", o->name);
		break;
	case OPTION_LIST:
		unparse_list(o, member, ret);
		break;
	case OPTION_STRING:
	case OPTION_CHOICE:
		if (*(const char *const *)member)
			strv_add_format(ret, "--%s=%s", o->name, *(const char *const *)member);
		break;
	case OPTION_NUMBER:
	case OPTION_SIZE:
	case OPTION_DURATION:
		if (given || *(const uint64_t *)member > 0)
			unparse_number(o, *(const uint64_t *)member, ret);
		break;
	}
}

int verb_unparse(const struct verb_option *rows, const void *options, struct strv *ret)
{
	for (const struct verb_option *o = rows; o && o->name; o++)
		option_unparse(o, options, ret);
	return ret->failed ? -ENOMEM : 0;
}

void verb_release(const struct verb *verb, void *options)
{
	for (int i = 0; i < options_count(verb); i++) {
		struct verb_list *list = (void *)((char *)options + verb->options[i].offset);

		if (verb->options[i].type == OPTION_LIST) {
			free(list->items);
			*list = (struct verb_list){0};
		}
	}
}
