/* template.json: what is accepted is within its bounds and is written as it was read. */
#include <assert.h>

#include "vm/template_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(
	const struct template_info *info, const struct template_stamp stamps[TEMPLATE_FILES])
{
	struct template_stamp stamps_again[TEMPLATE_FILES];
	struct template_info again;
	autofree char *first = template_record_format(info, stamps), *second = NULL;

	assert(first && info->cpus > 0 && info->memory_mib > 0);
	assert(info->memory_mib <= UINT64_C(16) << 20); /* can be made bytes of */
	assert(digest_is_hex(info->key) && digest_is_hex(info->image_digest));
	assert(strlen(info->image_name) < TEMPLATE_TEXT_MAX);
	assert(template_record_parse(first, strlen(first), &again, stamps_again, NULL) == 0);
	second = template_record_format(&again, stamps_again);
	assert(second && strcmp(first, second) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct template_stamp stamps[TEMPLATE_FILES];
	struct template_info info;
	struct error err = {0};

	if (template_record_parse((const char *)data, size, &info, stamps, &err) == 0)
		check_accepted(&info, stamps);
	else
		assert(err.text[0]);
	return 0;
}
