/* Settings from INI files, by one table: a row gives a key's name, type, default, range and the
 * sentence that `--help`, the manual page and the example file show. */
#pragma once

#include <stdio.h>

#include "lib/error.h"

enum conf_type {
	CONF_STRING,  /* char *, owned by the struct */
	CONF_STRINGS, /* char **, NULL-terminated, never NULL, owned; the file may repeat the key */
	CONF_NUMBER,  /* uint64_t */
	CONF_SIZE,    /* uint64_t, bytes */
	CONF_DURATION, /* uint64_t, microseconds */
	CONF_BOOL,     /* bool */
	CONF_CHOICE,   /* char *, one of the words in `choices` ("a|b|c"), owned */
	CONF_WORDS, /* as CONF_STRINGS; a line may have several, with commas or blanks between, and
		     * has at least one; each is one of `choices` if there are any */
	CONF_PATTERN, /* struct pattern *, a regular expression, owned */
};

struct conf_setting {
	const char *section, *key;
	enum conf_type type;
	size_t offset;             /* in the settings struct */
	const char *default_value; /* as it would be written in the file; NULL: none */
	uint64_t min, max;         /* for numbers, sizes (bytes) and durations (us); 0,0: any */
	const char *choices;
	const char *help; /* one sentence */
	/* What else a text (of CONF_STRINGS: each) must be; NULL: nothing. Returns 0 or -EINVAL. */
	int (*check)(const char *text, struct error *err);
};

/* A table ends with a row whose key is NULL. */

/* Fills `settings` (zeroed memory) with the defaults. Returns 0, -ENOMEM, or -EINVAL for a default
 * that its own row refuses (our mistake; a unit test calls this). */
int conf_init(const struct conf_setting *table, void *settings, struct error *err);

/* Reads one file over what is there; the first value of a list drops those from before. Missing
 * file: -ENOENT, nothing changed. An unknown section or key, a bad value or a bad line: -EINVAL
 * with "FILE:LINE: ..." in the message. */
int conf_load(
	const struct conf_setting *table, void *settings, const char *path, struct error *err);

/* Sets one key from text, as a line of a file would; a list grows by it. Returns 0 or -EINVAL. */
int conf_set(const struct conf_setting *row, void *settings, const char *text, struct error *err);

/* Empties a list, to NULL. */
void conf_clear(const struct conf_setting *row, void *settings);

/* Frees strings and lists; the struct can be initialised again. */
void conf_done(const struct conf_setting *table, void *settings);

/* Sections that have a name, "[KIND NAME]": each fills a struct of its own, in the order of the
 * file. */
struct conf_item {
	char *name;
	int line; /* of its header */
	void *settings;
	bool *given; /* which rows of the table the section has */
};

struct conf_list {
	const char *kind;                 /* "policy" */
	const struct conf_setting *table; /* of one section; the rows' own `section` is the kind */
	size_t size;                      /* of the struct that the rows fill */
	const char *refused; /* such a section is an error, for this reason; NULL: is taken */
	const char *help;    /* a paragraph: what the sections are for */
	struct conf_item *items;
	size_t count;
	struct conf_list *next; /* another kind that the file may have; NULL: none */
};

/* As conf_load() where the file may also have sections of `list`, which are added to it. A name is
 * letters, digits, '.', '_' and '-', and stands once in a list. After a failure the list has what
 * was read until then. */
int conf_load_list(const struct conf_setting *table, void *settings, struct conf_list *list,
	const char *path, struct error *err);

/* Moves the items of `from` whose names are not taken behind those of `list`; the others stay.
 * Returns 0 or -ENOMEM. */
int conf_list_append(struct conf_list *list, struct conf_list *from);

/* Frees the items; the list can be filled again. */
void conf_list_done(struct conf_list *list);

/* Writes the table as a commented example file, and as the body of a manual page (roff). */
void conf_print_example(const struct conf_setting *table, FILE *out);
void conf_print_man(const struct conf_setting *table, FILE *out);

/* The same for sections with a name; the example is one section, all of it a comment. */
void conf_print_list_example(const struct conf_list *list, FILE *out);
void conf_print_list_man(const struct conf_list *list, FILE *out);
