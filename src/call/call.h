/* One request to the site's controllers, with the settings of wnodes.conf. */
#pragma once

#include "engine/settings.h"
#include "lib/buffer.h"
#include "site/site.h"

/* How the program ends. */
#define CALL_REFUSED     1
#define CALL_UNREACHABLE 3

struct call {
	struct settings settings;
	char *token;
	const char *controllers[2]; /* where the settings have none */
	struct site *site;
	const char *method, *path, *if_match;
	const char
		*controller; /* this one alone, with little patience; NULL: those of the settings */
	bool list;
	bool bytes; /* the body is no JSON, and may take its time */
};

/* Returns 0 or negative errno. */
int call_open(struct call *c, struct error *err);
void call_done(struct call *c);

/* Sends bytes, and prints the answer. Returns as below. */
int call_send(struct call *c, const struct buffer *data, struct error *err);

/* Asks, and prints the answer; of a list, a line for each item. `body` may be NULL. Returns the
 * exit status, or negative errno with the reason that no answer came. */
int call_run(struct call *c, json_t *body, struct error *err);
