/* Text from a guest or a file may hold control characters, which a terminal would obey. */
#pragma once

#include <stddef.h>

/* Replaces control characters but for line feed and tab: carriage returns by blanks, others by '?'.
 */
void printable_make(char *text, size_t length);

/* The same for what must be one line: line feeds and tabs become blanks too. */
void printable_make_line(char *text, size_t length);
