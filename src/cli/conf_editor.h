/* A text in the user's editor. */
#pragma once

#include "lib/error.h"

struct conf_editor {
	char *path; /* of the file, which stays until conf_editor_remove() */
	char *text; /* as it is now */
};

int conf_editor_init(struct conf_editor *e, const char *text, struct error *err);
void conf_editor_done(struct conf_editor *e);

/* Lets the user edit, and reads the text anew. Returns 1 if it has changed since the last time that
 * it was, 0 if not, or negative errno. */
int conf_editor_run(struct conf_editor *e, struct error *err);

/* Asks a question that Enter says yes to; no where there is nobody to ask. */
bool conf_editor_ask(const struct conf_editor *e, const char *question);

void conf_editor_remove(struct conf_editor *e);
