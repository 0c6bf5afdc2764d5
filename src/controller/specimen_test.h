/* Images for tests of the catalogue: what a publisher sends, with a manifest of its own each. */
#pragma once

#include <jansson.h>

#include "image/manifest.h"

/* The body of POST /v1/images for the specimen of this number, which is always the same one;
 * `digest` is its digest. */
json_t *specimen_new(const char *name, int number, char digest[DIGEST_HEX_SIZE]);

/* The same of an image with these parts: a disk, a kernel, an initrd. */
json_t *specimen_of(const char *name, const struct image_part parts[3],
	char indexes[3][DIGEST_HEX_SIZE], char digest[DIGEST_HEX_SIZE]);

/* Publishes it as an endorser, endorsed; `approved`: and has it approved. */
void specimen_publish(const char *name, int number, bool approved, char digest[DIGEST_HEX_SIZE]);

/* Asks for "METHOD /v1/images/DIGEST/verb", with If-Match: *. Returns the status. */
int specimen_change(const char *who, const char *digest, const char *verb, json_t *body);
