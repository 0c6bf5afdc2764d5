/* What can be asked, published: the OpenAPI 3.0 document that the tables of routes, of listings and
 * of fields give. */
#pragma once

#include "controller/route.h"

/* A new document, or NULL when out of memory. */
json_t *openapi_new(void);

extern const struct route openapi_routes[];
