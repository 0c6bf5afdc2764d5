/* A kernel from an image: the header of a bzImage, and the ELF file that it unpacks to. */
#include <assert.h>
#include <errno.h>

#include "image/kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel_payload payload = {0};
	struct error err = {0};
	int r = kernel_parse(data, size, &payload, &err);

	assert(r == 0 || (r == -EINVAL && err.text[0]));
	if (r == 0) {
		assert(payload.offset < size && payload.length <= size - payload.offset);
		assert(payload.unpack && payload.unpack[0]);
	}
	r = kernel_check_pvh(data, size, &err);
	assert(r == 0 || r == -EINVAL);
	return 0;
}
