/* The target of a request, as it stands in its first line: a path and a query, percent-encoded. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

/* Decodes `n` bytes; `plus`: a '+' is a blank, as in queries. Returns 0, -EINVAL for what is no
 * encoding, a control character or not UTF-8, or -ENAMETOOLONG. */
int target_decode(const char *text, size_t n, bool plus, char *ret, size_t size);

/* The query behind the '?' (NULL: none) as an object of texts. Returns 0, -ENOMEM, or -EINVAL with
 * what is wrong. */
int target_parse_query(const char *query, json_t **ret, struct error *err);
