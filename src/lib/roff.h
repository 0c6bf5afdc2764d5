/* Text for manual pages: everything that roff would take for its own is escaped. */
#pragma once

#include <stdio.h>

#include "lib/base.h"

/* Writes text as it is to appear, for use within a line or a macro's quoted argument. */
void roff_print_inline(FILE *out, const char *text);

/* As above, with all dashes as the ones of options and programs' names. */
void roff_print_literal(FILE *out, const char *text);

/* Writes text to be filled, in lines of moderate length, each paragraph (they are separated by
 * blank lines) after the first behind .PP. */
void roff_print_text(FILE *out, const char *text);
