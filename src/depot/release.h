/* A release: a published image as a catalogue knows it. Who trusts a release can check all of the
 * image from there: the manifest by its digest, each index by its SHA-256, each chunk by its id.
 *
 *   {"digest": D, "name": "el9", "parts": [{"kind": "disk", "digest": B, "size": N, "index": X},
 * ...]}
 */
#pragma once

#include <jansson.h>

#include "depot/depot.h"

#define RELEASE_BYTES_MAX 65536

struct release_part {
	enum image_part_kind kind;
	char digest[DIGEST_HEX_SIZE]; /* of the blob */
	uint64_t size;                /* of the blob, in bytes */
	char index[DIGEST_HEX_SIZE];  /* of its index, as a file */
};

struct release {
	char digest[DIGEST_HEX_SIZE]; /* of the manifest: the image */
	char *name;                   /* NULL: none */
	struct release_part parts[MANIFEST_PARTS_MAX];
	size_t part_count;
};

/* Parses JSON of anybody's; members that are not known are ignored. There is one disk, and at most
 * one part of any other kind. Returns 0 and *ret for release_free(), -EINVAL with the reason, or
 * -ENOMEM. */
int release_parse(const char *json, size_t length, struct release **ret, struct error *err);
int release_from_json(json_t *object, struct release **ret, struct error *err);

/* A new object, or NULL when out of memory; and as text, which the caller frees. */
json_t *release_to_json(const struct release *release);
char *release_format(const struct release *release);

/* Makes the release of an image that a depot has; `name` may be NULL. Returns 0, -ENOENT, -EBADMSG
 * where a file of the depot is damaged, or negative errno. */
int release_load(const struct depot *d, const char *digest, const char *name, struct release **ret,
	struct error *err);

/* Returns the part or NULL. */
const struct release_part *release_get_part(
	const struct release *release, enum image_part_kind kind);

/* Has the release the parts of this manifest, which must be the one with its digest? Returns 0, or
 * -EBADMSG with what differs. */
int release_check(const struct release *release, const struct manifest *m, struct error *err);

struct release *release_free(struct release *release);
DEFINE_CLEANUP(struct release *, release_free)
