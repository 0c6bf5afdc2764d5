/* The kernel's command line. */
#pragma once

#include "lib/base.h"

/* Copies the value of the last `key=value`; false if there is none or it does not fit. */
bool cmdline_get(const char *key, char *ret, size_t size);

/* Is the word there? */
bool cmdline_has(const char *word);

/* The pure parts, on a given text. */
bool cmdline_find(const char *text, const char *key, char *ret, size_t size);
bool cmdline_contains(const char *text, const char *word);
