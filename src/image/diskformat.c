#include "image/diskformat.h"

#include <errno.h>
#include <stdio.h>

/* Smaller than any system; larger than an overlay can be. */
#define DISK_SIZE_MIN (UINT64_C(1) << 20)
#define DISK_SIZE_MAX (UINT64_C(8) << 40)

#define SECTOR_SIZE    512
#define BOOT_SIGNATURE 510

/* Fields of the qcow2 header, all big endian. Source: QEMU's docs/interop/qcow2.txt. */
#define QCOW2_VERSION        4
#define QCOW2_BACKING_OFFSET 8
#define QCOW2_SIZE           24
#define QCOW2_CRYPT_METHOD   32
#define QCOW2_INCOMPATIBLE   72
#define QCOW2_HEADER_V2      72
#define QCOW2_HEADER_V3      104

enum { QCOW2_DIRTY = 1 << 0, QCOW2_CORRUPT = 1 << 1, QCOW2_DATA_FILE = 1 << 2 };

#define ADVICE_CONVERT "convert it: qemu-img convert -O qcow2 FILE NEW"
#define ADVICE_UNPACK  "unpack it first"

/* What people import by mistake. */
static const struct {
	size_t offset, length;
	const char *magic, *what, *advice;
} others[] = {
	{0, 4, "KDMV", "a VMDK image", ADVICE_CONVERT},
	{0, 21, "# Disk DescriptorFile", "a VMDK descriptor", ADVICE_CONVERT},
	{0, 8, "vhdxfile", "a VHDX image", ADVICE_CONVERT},
	{0, 8, "conectix", "a VHD image", ADVICE_CONVERT},
	{0, 4, "<<< ", "a VDI image", ADVICE_CONVERT},
	{0, 4, "QED\0", "a QED image", ADVICE_CONVERT},
	{0, 6,
		"\xfd"
		"7zXZ",
		"compressed with xz", ADVICE_UNPACK},
	{0, 3, "\x1f\x8b\x08", "compressed with gzip", ADVICE_UNPACK},
	{0, 4, "\x28\xb5\x2f\xfd", "compressed with zstd", ADVICE_UNPACK},
	{0, 3, "BZh", "compressed with bzip2", ADVICE_UNPACK},
	{0, 4, "PK\x03\x04", "a zip archive", ADVICE_UNPACK},
	{257, 5, "ustar", "a tar archive", ADVICE_UNPACK},
	{32769, 5, "CD001", "an installation medium (ISO 9660)",
		"take the distribution's cloud image instead"},
	{0, 2, "<!", "a web page", "check the URL"},
	{0, 5, "<html", "a web page", "check the URL"},
};

static uint32_t be32_at(const uint8_t *p, size_t offset)
{
	p += offset;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t be64_at(const uint8_t *p, size_t offset)
{
	return (uint64_t)be32_at(p, offset) << 32 | be32_at(p, offset + 4);
}

static int check_qcow2(const uint8_t *head, size_t length, uint64_t *ret_size, struct error *err)
{
	uint32_t version = length >= QCOW2_HEADER_V2 ? be32_at(head, QCOW2_VERSION) : 0;
	uint64_t flags = 0;

	if (version == 1)
		return fail(err, -EINVAL, "it is of QEMU's old qcow format; " ADVICE_CONVERT);
	if (version != 2 && (version != 3 || length < QCOW2_HEADER_V3))
		return fail(err, -EINVAL, "it is not a whole qcow2 image");
	if (version == 3)
		flags = be64_at(head, QCOW2_INCOMPATIBLE);
	if (be64_at(head, QCOW2_BACKING_OFFSET) != 0)
		return fail(err, -EINVAL,
			"it is an overlay that needs another file (a backing file); make one file of"
			" both: qemu-img convert -O qcow2 FILE NEW");
	if (flags & QCOW2_DATA_FILE)
		return fail(err, -EINVAL,
			"it keeps its data in another file; make one file of both: qemu-img convert"
			" -O qcow2 FILE NEW");
	if (be32_at(head, QCOW2_CRYPT_METHOD) != 0)
		return fail(err, -EINVAL, "it is encrypted");
	if (flags & (QCOW2_DIRTY | QCOW2_CORRUPT))
		return fail(err, -EINVAL,
			"it is marked as damaged or in use; stop the VM that uses it, or repair it:"
			" qemu-img check -r all FILE");
	*ret_size = be64_at(head, QCOW2_SIZE);
	return 0;
}

static int check_raw(const uint8_t *head, size_t length, uint64_t file_size, uint64_t *ret_size,
	struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (length >= others[i].offset + others[i].length &&
			memcmp(head + others[i].offset, others[i].magic, others[i].length) == 0)
			return fail(err, -EINVAL, "it is %s; %s", others[i].what, others[i].advice);
	if (length < SECTOR_SIZE || head[BOOT_SIGNATURE] != 0x55 ||
		head[BOOT_SIGNATURE + 1] != 0xaa)
		return fail(
			err, -EINVAL, "it is neither a qcow2 image nor a disk with a boot loader");
	*ret_size = (file_size + SECTOR_SIZE - 1) / SECTOR_SIZE * SECTOR_SIZE;
	return 0;
}

int diskformat_detect(const void *head, size_t length, uint64_t file_size, const char **ret_format,
	uint64_t *ret_disk_size, struct error *err)
{
	bool is_qcow2 = length >= 4 && memcmp(head, "QFI\xfb", 4) == 0;
	int r = length == 0 ? fail(err, -EINVAL, "it is empty")
		: is_qcow2  ? check_qcow2(head, length, ret_disk_size, err)
			    : check_raw(head, length, file_size, ret_disk_size, err);

	if (r < 0)
		return r;
	if (*ret_disk_size < DISK_SIZE_MIN || *ret_disk_size > DISK_SIZE_MAX)
		return fail(err, -EINVAL, "a disk of %llu bytes is not from 1 MiB to 8 TiB",
			(unsigned long long)*ret_disk_size);
	*ret_format = is_qcow2 ? "qcow2" : "raw";
	return 0;
}
