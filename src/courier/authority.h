/* The site's own authority, before anything else of the site is believed. */
#pragma once

#include "lib/digest.h"
#include "lib/error.h"

/* Asks a controller, "https://HOST:PORT", for the authority's certificate, without knowing whether
 * it is one: what it says is to be checked by its fingerprint. *ret is PEM, for free(). Returns 0,
 * or negative errno. */
int authority_fetch(const char *controller, char **ret, struct error *err);

/* The SHA-256 of a certificate (PEM), as hex. Returns 0 or -EINVAL. */
int authority_fingerprint(const char *certificate, char ret[DIGEST_HEX_SIZE], struct error *err);

/* The same fingerprint as people write it: upper or lower case, with colons, behind "SHA256:". */
bool authority_is_fingerprint(const char *hex, const char *written);
