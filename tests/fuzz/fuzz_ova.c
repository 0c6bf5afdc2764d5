/* OVA archives: a disk that is found lies within the file, and names no other. */
#include <assert.h>
#include <sys/mman.h>

#include "image/ova.h"
#include "lib/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autoclose int fd = memfd_create("ova", MFD_CLOEXEC);
	uint64_t offset, length;
	struct error err = {0};

	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	ova_is_archive(fd);
	if (ova_find_disk(fd, &offset, &length, &err) < 0) {
		assert(err.text[0]);
		return 0;
	}
	assert(offset < size && length <= size - offset && length > 0);
	assert(memcmp(data + offset, "KDMV", 4) == 0);
	assert(!memmem(data + offset, MIN_OF(length, (uint64_t)10240), "parentFileNameHint", 18));
	return 0;
}
