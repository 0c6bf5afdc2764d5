/* The file with a token. */
#pragma once

#include "lib/error.h"

/* Reads the token of the caller's, *ret for free(). A file that others may read is refused: whoever
 * has read it is its owner for a controller. Returns 0 or negative errno. */
int token_load(const char *path, char **ret, struct error *err);
