/* The first bytes of a disk image from anywhere. */
#include <assert.h>
#include <errno.h>

#include "image/diskformat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *format = NULL;
	struct error err = {0};
	uint64_t disk_size = 0;
	size_t head = MIN_OF(size, (size_t)DISKFORMAT_HEAD_SIZE);
	int r = diskformat_detect(data, head, size, &format, &disk_size, &err);

	assert(r == 0 || (r == -EINVAL && err.text[0]));
	if (r == 0) {
		assert(strcmp(format, "raw") == 0 || strcmp(format, "qcow2") == 0);
		assert(disk_size > 0 && disk_size <= UINT64_C(8) << 40);
	}
	return 0;
}
