/* Versions of image lists, which have no grammar: dates, as AppDB writes them, or numbers with
 * points. */
#pragma once

#include "lib/base.h"

/* Compares runs of digits as numbers and everything else byte by byte: 9 < 10, 1.2 < 1.10,
 * 20150618211400 < 20150619000000. Returns less than 0, 0 or more than 0. */
int version_compare(const char *a, const char *b);
