/* The command line of wnodes-controller. */
#pragma once

#include "lib/base.h"

enum arguments_verb { VERB_SERVE, VERB_CHECK, VERB_MIGRATE, VERB_CONFIG, VERB_OPENAPI };

struct arguments {
	enum arguments_verb verb;
	const char *config; /* NULL: the usual file */
	char *from, *to;    /* databases, of VERB_MIGRATE; owned */
	bool man;           /* of VERB_CONFIG */
};

/* Returns -1 to go on, else the exit status. */
int arguments_parse(struct arguments *ret, int argc, char **argv);
void arguments_done(struct arguments *a);

/* As migrate_run() wants it. */
void arguments_print_progress(const char *table, int64_t rows, void *userdata);
