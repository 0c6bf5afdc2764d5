/* What the verbs about the site have in common: a list, one thing, a change. All print what is
 * wrong and return the process's exit status. */
#pragma once

#include "cli/site_call.h"
#include "cli/table.h"
#include "cli/verb.h"

/* Options of verbs that list. */
#define SITE_FILTERS_MAX 8

struct site_list_options {
	bool json, quiet, all;
	const char *filters[SITE_FILTERS_MAX];
};

/* Rows for their tables. A filter's value is what the site's API takes in a query of its name, but
 * for
 * --group: that is "hostgroup" there. */
#define SITE_LIST_OPTIONS                                                             \
	{"json", 0, OPTION_FLAG, offsetof(struct site_list_options, json),            \
		.help = "Prints JSON: an array, a line for each item"},               \
	{                                                                             \
		"quiet", 'q', OPTION_FLAG, offsetof(struct site_list_options, quiet), \
			.help = "Prints names only"                                   \
	}

#define SITE_FILTER(index, name, argument, what)                                            \
	{                                                                                   \
		name, 0, OPTION_STRING, offsetof(struct site_list_options, filters[index]), \
			argument, .help = what                                              \
	}

struct site_list {
	const char *noun;                 /* in the path: "nodes" */
	const struct verb_option *rows;   /* the verb's, with its filters */
	const struct table_column *table; /* what people see */
	const char *name;                 /* the member that --quiet prints */
	void (*flatten)(json_t *row);     /* adds members that only the table needs; may be NULL */
};

/* Prints all pages as they come, so that a list of any length takes little memory. */
int site_verb_list(const struct site_list *list, const struct site_list_options *options);

/* Was one of the filters given? *ret_name (may be NULL) is the first's. */
bool site_verb_is_filtered(const struct verb_option *rows, const struct site_list_options *options,
	const char **ret_name);

/* Options of verbs that show one thing, or change one. */
struct site_json_option {
	bool json;
};

#define SITE_JSON_OPTION(type)                                                      \
	{                                                                           \
		"json", 0, OPTION_FLAG, offsetof(type, json), .help = "Prints JSON" \
	}

extern const struct verb_option site_json_rows[];

/* Gets one thing; *ret for json_decref(). */
int site_verb_get(struct site_path *path, json_t **ret);

/* Prints one thing, and takes it. */
int site_verb_print(json_t *thing, const struct table_column *fields, bool json);

/* Changes something; takes `body` (may be NULL: none). *ret (may be NULL as an argument) is the
 * answer, for json_decref(), NULL where there is none. */
int site_verb_change(const char *method, struct site_path *path, json_t *body, const char *if_match,
	json_t **ret);

/* Says what was done in a sentence, or with --json prints the answer; takes `answer`. */
int site_verb_tell(bool json, json_t *answer, const char *format, ...) PRINTF(3, 4);

/* Says what is wrong with the command line. */
int site_verb_fail(const char *format, ...) PRINTF(1, 2);

/* The texts of a list of arguments as JSON. */
json_t *site_verb_texts(const struct verb_list *list);
