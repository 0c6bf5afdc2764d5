/* The site's images, as the verbs of `wnodes image` see them. All print what is wrong and return
 * the process's exit status, but where they have an error to fill. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

/* Finds an image in the site's catalogue: by a tag, "NAME[:TAG]" or "USER/NAME:TAG"; else the
 * newest of the name that is to get the tag; or by the first digits (at least eight) of its digest.
 * Returns 0 with the image for json_decref(), -ENOENT, or as site_call_ask(). */
int image_site_find(const char *reference, json_t **ret, struct error *err);

/* The same, with a message if there is none. */
int image_site_get(const char *reference, json_t **ret);

/* What somebody has typed as a time: "2027-01-31T00:00:00Z", or how long from now, "30d". `ret` has
 * room for TIMESTAMP_TEXT_SIZE. Returns 0 or -EINVAL. */
int image_site_parse_time(const char *text, char *ret, struct error *err);

int image_site_list(bool json, bool quiet);
int image_site_tag(const char *reference, const char *tag, const char *reason);
