/* Text from a guest or a file may hold control characters, which a terminal would obey. */
#pragma once

#include <stddef.h>

/* Replaces control characters but for line feed and tab: carriage returns by blanks, others by '?'.
 */
void printable_make(char *text, size_t length);
