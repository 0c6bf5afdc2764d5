/* Do the texts of a central configuration fit together? Each has its own limit, but a node takes
 * only so much of all that are for it. */
#pragma once

#include "sql/sql.h"

/* Would all nodes take what they are to have if the text of `scope` became `text`? Returns 1, 0
 * with the scopes and their sizes in `err`, or negative errno. */
int configuration_fits(struct sql *db, const char *scope, const char *text, struct error *err);
