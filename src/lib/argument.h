/* The command line of a small program: options of which each has a row. --version and --help are
 * there in each; `wnodes` itself, with its verbs, has src/cli/option.h. */
#pragma once

#include "lib/base.h"

struct argument {
	const char *name;  /* without "--" */
	const char **text; /* --NAME VALUE; the value is argv's */
	bool *is;          /* --NAME, where there is no text */
};

/* Reads options by a table, which ends with a NULL name, up to what is none; `optind` says where
 * that begins. `help` (NULL: there is none) prints the text of --help. Returns -1 to go on, else
 * the exit status. */
int argument_parse(const struct argument *table, const char *program, void (*help)(void), int argc,
	char **argv);
