#include "controller/image_parts.h"

#include <errno.h>
#include <stdio.h>

#include "lib/fields.h"

/* As large as an index may make it; see docs/distribution.md. */
#define PART_BYTES_MAX (UINT64_C(1) << 40)

struct part {
	char kind[8], digest[DIGEST_HEX_SIZE], index[DIGEST_HEX_SIZE];
	uint64_t size;
};

static const struct field part_fields[] = {
	{"kind", FIELD_WORD, offsetof(struct part, kind), 0, 0, true, "disk|kernel|initrd", NULL},
	{"digest", FIELD_DIGEST, offsetof(struct part, digest), 0, 0, true, NULL, NULL},
	{"size", FIELD_NUMBER, offsetof(struct part, size), 0, PART_BYTES_MAX, true, NULL, NULL},
	{"index", FIELD_DIGEST, offsetof(struct part, index), 0, 0, true, NULL, NULL},
	{.name = NULL},
};

static const struct image_part *find_part(const struct manifest *m, const char *kind)
{
	return manifest_part(m, streq(kind, "disk")     ? IMAGE_DISK
				: streq(kind, "kernel") ? IMAGE_KERNEL
							: IMAGE_INITRD);
}

static int check_part(const struct manifest *m, json_t *told, uint64_t *size, unsigned int *seen,
	struct error *err)
{
	struct part part = {0};
	const struct image_part *there;

	if (fields_parse(part_fields, told, &part, err) < 0)
		return fail_within(err, "a part");
	there = find_part(m, part.kind);
	if (!there || !streq(there->digest, part.digest) || there->size != part.size)
		return fail(err, -EINVAL, "its %s is not that of its manifest", part.kind);
	if (*seen & (1u << there->kind))
		return fail(err, -EINVAL, "its %s is there twice", part.kind);
	*seen |= 1u << there->kind;
	*size += part.size;
	return 0;
}

static int check_parts(const struct manifest *m, json_t *parts, uint64_t *size, struct error *err)
{
	unsigned int seen = 0;
	json_t *told;
	size_t i;

	json_array_foreach(
		parts, i, told) if (check_part(m, told, size, &seen, err) < 0) return -EINVAL;
	if (json_array_size(parts) != m->part_count)
		return fail(err, -EINVAL, "its manifest has %zu parts, not %zu", m->part_count,
			json_array_size(parts));
	return 0;
}

int image_parts_check(const char *digest, const char *manifest, json_t *parts,
	char ret_os[IMAGE_OS_MAX], uint64_t *ret_size, struct error *err)
{
	struct manifest *m AUTO(manifest_freep) = NULL;
	char found[DIGEST_HEX_SIZE];
	size_t length = strlen(manifest);

	if (digest_bytes(manifest, length, found) < 0)
		return fail(err, -EINVAL, "its manifest cannot be hashed");
	if (!streq(found, digest))
		return fail(err, -EINVAL,
			"its manifest's SHA-256 is %s; send it byte by byte as it is", found);
	if (manifest_parse(manifest, length, &m, err) < 0)
		return fail_within(err, "its manifest");
	*ret_size = 0;
	snprintf(ret_os, IMAGE_OS_MAX, "%s", m->os ? m->os : "");
	return check_parts(m, parts, ret_size, err);
}
