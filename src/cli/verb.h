/* The command line as tables: a verb, its options, its text. From one table come the parsing,
 * `--help`, the manual page and the shell completion, so that they cannot disagree. */
#pragma once

#include <stdio.h>

#include "lib/error.h"
#include "lib/exit.h"
#include "lib/strv.h"

enum option_type {
	OPTION_FLAG,     /* bool */
	OPTION_STRING,   /* const char *, points into argv */
	OPTION_LIST,     /* struct verb_list; may be repeated */
	OPTION_NUMBER,   /* uint64_t */
	OPTION_SIZE,     /* uint64_t, bytes */
	OPTION_DURATION, /* uint64_t, microseconds */
	OPTION_CHOICE,   /* const char *, one of `choices` ("a|b|c") */
};

struct verb_list {
	const char **items; /* point into argv; NULL-terminated once there is one */
	size_t count;
};

struct verb_option {
	const char *name; /* long name without dashes */
	char letter;      /* short form, or 0 */
	enum option_type type;
	size_t offset;        /* in the verb's options struct */
	const char *argument; /* its name in the help: "SIZE"; NULL for flags */
	const char *choices;  /* for OPTION_CHOICE, also completes */
	const char *complete; /* what completion offers: "image", "vm", "job", "node", "pool",
			       * "group", "file", "dir", "command", "verb" or NULL */
	const char *help;     /* one or two sentences, no full stop needed at the end of a phrase */
	uint64_t min, max;    /* for numbers, sizes (bytes) and durations (us); 0,0: any */
	size_t given;         /* where a bool is set if the option was given, so that 0 can be told
			       * from nothing; 0: nowhere */
};

/* Tables end with a row whose name is NULL. */

struct verb {
	const char *name;     /* "run", "image build" */
	const char *synopsis; /* what follows the name: "[options] -- COMMAND [ARG...]" */
	const char *summary;  /* one line for lists */
	const char *about;    /* the manual's DESCRIPTION: paragraphs separated by blank lines */
	const char *examples; /* the manual's EXAMPLES: command lines, a line each; "# " comments */
	const struct verb_option *options;
	size_t options_size;       /* size of the options struct, zeroed before parsing */
	int min_args, max_args;    /* positional arguments; max -1: any number */
	const char *args_complete; /* what the positional arguments are, as option.complete, or
				    * "=a|b" for these words */
	/* Returns the process's exit status. `options` is the parsed struct; args are what is left,
	 * NULL-terminated, arg_count of them. */
	int (*run)(const void *options, int arg_count, const char *const *args);
};

/* All verbs, in the order of the help; ends with a NULL entry. Defined in wnodes.c. */
extern const struct verb *const verbs[];

/* Finds the verb that argv begins with ("image build" takes two words) and returns it, with the
 * number of words used; NULL if there is none. */
const struct verb *verb_find(int argc, const char *const *argv, int *ret_words);

/* Parses argv (without the verb's words, NULL behind its argc entries) into `options` and returns
 * the index of the first positional argument, or -EINVAL with the reason. argv is reordered so that
 * the positional arguments come last.
 *
 * "--" ends the options. Where the verb's synopsis has "--", so does the first positional argument,
 * and a "--" behind as many arguments as the synopsis has before its own ("VM -- COMMAND") is
 * dropped. Sets *ret_help for --help, and then checks nothing else. */
int verb_parse(const struct verb *verb, int argc, const char **argv, void *options, bool *ret_help,
	struct error *err);

/* The options as words, without those that were not given: what verb_parse() makes the same options
 * of. The rows may be those of another verb that has the same members. Returns 0 or -ENOMEM. */
int verb_unparse(const struct verb_option *rows, const void *options, struct strv *ret);

/* Frees the lists that verb_parse() made. */
void verb_release(const struct verb *verb, void *options);

/* The whole of main() once the table is there: finds the verb, parses, runs, and says what is wrong
 * with a command line. argv is main's. Returns the exit status. */
int verb_dispatch(int argc, const char **argv);

/* Says on stderr that these words are no verb, and which is near. Returns EXIT_WNODES. */
int verb_report_unknown(int argc, const char *const *argv);

/* Does a verb of two words begin with this one ("image")? */
bool verb_is_group(const char *word);

/* How many positional arguments the synopsis has before its "--"; -1 if it has no "--". */
int verb_count_before_dashes(const struct verb *verb);

/* --help, in 80 columns. */
void verb_print_help(const struct verb *verb, FILE *out);

/* All verbs, or those of one group, a line each. */
void verb_print_overview(const char *group, FILE *out);

/* The manual's page of a verb ("wnodes-image-build" for "image build"), and that of all,
 * wnodes(1). Dated by SOURCE_DATE_EPOCH where that is set, else today. */
void verb_print_man(const struct verb *verb, FILE *out);
void verb_print_overview_man(FILE *out);

/* A bash completion script for all verbs. */
void verb_print_completion(FILE *out);

/* `wnodes help [--man] [VERB]` and `wnodes completion`: entries for verbs[]. */
extern const struct verb verb_help, verb_completion;
