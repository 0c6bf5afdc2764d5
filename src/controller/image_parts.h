/* What an image consists of, as its publisher says: it has to agree with the manifest, whose digest
 * the image is. */
#pragma once

#include <jansson.h>

#include "image/manifest.h"

#define IMAGE_OS_MAX 129

/* Is `manifest` of this digest, and are `parts` (a list of objects: kind, digest, size, index) its
 * parts? Returns 0 with what is in it ("": it does not say) and the bytes of all parts, or -EINVAL.
 */
int image_parts_check(const char *digest, const char *manifest, json_t *parts,
	char ret_os[IMAGE_OS_MAX], uint64_t *ret_size, struct error *err);
