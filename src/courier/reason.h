/* Why something failed, as text that JSON can have: what others have said need not be UTF-8, or is
 * cut off in the middle of a letter. */
#pragma once

#include <jansson.h>

#define REASON_MAX 250 /* bytes that are kept */

/* A new string; `otherwise` where there is nothing. NULL when out of memory. */
json_t *reason_to_json(const char *text, const char *otherwise);
