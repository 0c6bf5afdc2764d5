/* From the command line to the verb's function. */
#include "cli/verb.h"

#include <errno.h>

#include "config.h"
#include "lib/nearest.h"

/* Does argv begin with the words of `name`? Returns their number, or 0. */
static int words_match(const char *name, int argc, const char *const *argv)
{
	int words = 0;

	while (*name) {
		size_t n = strcspn(name, " ");

		if (words >= argc || strlen(argv[words]) != n || strncmp(argv[words], name, n) != 0)
			return 0;
		words++;
		name += n + (name[n] == ' ');
	}
	return words;
}

const struct verb *verb_find(int argc, const char *const *argv, int *ret_words)
{
	const struct verb *found = NULL;

	*ret_words = 0;
	for (size_t i = 0; verbs[i]; i++) {
		int words = words_match(verbs[i]->name, argc, argv);

		if (words > *ret_words) {
			*ret_words = words;
			found = verbs[i];
		}
	}
	return found;
}

bool verb_is_group(const char *word)
{
	for (size_t i = 0; verbs[i]; i++) {
		const char *rest = str_after(verbs[i]->name, word);

		if (rest && *rest == ' ')
			return true;
	}
	return false;
}

int verb_report_unknown(int argc, const char *const *argv)
{
	bool group = argc > 1 && verb_is_group(argv[0]);
	char word[128];
	struct nearest nearest = {.word = word};

	snprintf(word, sizeof(word), "%s%s%s", argv[0], group ? " " : "", group ? argv[1] : "");
	for (size_t i = 0; verbs[i]; i++)
		nearest_offer(&nearest, verbs[i]->name);
	if (nearest_get(&nearest))
		fprintf(stderr, "wnodes: unknown verb '%s'; did you mean '%s'?\n", word,
			nearest_get(&nearest));
	else
		fprintf(stderr, "wnodes: unknown verb '%s'; see wnodes %s%s--help\n", word,
			group ? argv[0] : "", group ? " " : "");
	return EXIT_WNODES;
}

/* A command line without a verb: a question for help, or a mistake. */
static int dispatch_without_verb(int argc, const char *const *argv)
{
	const char *group = argc > 0 && verb_is_group(argv[0]) ? argv[0] : NULL;
	const char *word = argc > (group ? 1 : 0) ? argv[group ? 1 : 0] : NULL;

	if (!word) {
		verb_print_overview(group, stderr);
		return EXIT_WNODES;
	}
	if (streq(word, "--help") || streq(word, "-h")) {
		verb_print_overview(group, stdout);
		return 0;
	}
	if (!group && streq(word, "--version")) {
		puts("wnodes " WNODES_VERSION);
		return 0;
	}
	if (word[0] == '-') {
		fprintf(stderr, "wnodes: unknown option %s; see wnodes --help\n", word);
		return EXIT_WNODES;
	}
	return verb_report_unknown(argc, argv);
}

static int verb_execute(const struct verb *verb, int argc, const char **argv, void *options)
{
	struct error err = {0};
	bool help = false;
	int first = verb_parse(verb, argc, argv, options, &help, &err);

	if (first < 0) {
		fprintf(stderr, "wnodes %s: %s\n", verb->name, err.text);
		return EXIT_WNODES;
	}
	if (help) {
		verb_print_help(verb, stdout);
		return 0;
	}
	return verb->run(options, argc - first, (const char *const *)argv + first);
}

static int dispatch_verb(const struct verb *verb, int argc, const char **argv)
{
	autofree void *options = calloc(1, verb->options_size + 1);
	int status;

	if (!options) {
		fprintf(stderr, "wnodes: out of memory\n");
		return EXIT_WNODES;
	}
	status = verb_execute(verb, argc, argv, options);
	verb_release(verb, options);
	return status;
}

int verb_dispatch(int argc, const char **argv)
{
	const struct verb *verb;
	int words, status;

	if (argc > 0) {
		argc--;
		argv++;
	}
	verb = verb_find(argc, (const char *const *)argv, &words);
	if (verb)
		status = dispatch_verb(verb, argc - words, argv + words);
	else
		status = dispatch_without_verb(argc, (const char *const *)argv);
	/* A list that a full disk cut short must not look whole. */
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == 0) {
		fprintf(stderr, "wnodes: cannot write the output: %s\n", strerror(errno));
		status = EXIT_WNODES;
	}
	return status;
}
