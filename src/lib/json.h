/* Small additions to jansson. */
#pragma once

#include <jansson.h>

/* A new array of these strings (NULL-terminated; NULL: an empty one), or NULL when out of memory.
 */
json_t *json_from_strings(const char *const *list);
