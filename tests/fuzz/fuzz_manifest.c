/* The manifest of an image: what is accepted is within its bounds and is written as it was read. */
#include <assert.h>

#include "image/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct manifest *m)
{
	struct manifest *again AUTO(manifest_freep) = NULL;
	autofree char *first = manifest_format(m), *second = NULL;

	assert(first && m->part_count > 0 && m->part_count <= MANIFEST_PARTS_MAX);
	assert(manifest_part(m, IMAGE_DISK) && m->disk_size > 0);
	assert(strcmp(m->format, "raw") == 0 || strcmp(m->format, "qcow2") == 0);
	assert(m->boot != IMAGE_BOOT_KERNEL || m->command_line);
	for (size_t i = 0; i < m->part_count; i++)
		assert(digest_is_hex(m->parts[i].digest));
	manifest_has_gateway(m, "9p");
	assert(manifest_parse(first, strlen(first), &again, NULL) == 0);
	second = manifest_format(again);
	assert(second && strcmp(first, second) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest *m AUTO(manifest_freep) = NULL;
	struct error err = {0};

	if (manifest_parse((const char *)data, size, &m, &err) == 0)
		check_accepted(m);
	else
		assert(!m && err.text[0]);
	return 0;
}
