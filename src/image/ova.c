#include "image/ova.h"

#include <errno.h>
#include <jansson.h>
#include <sys/stat.h>

#include "lib/child.h"

#define CONVERT_TIMEOUT_MS 3600000

/* A tar's header, of POSIX's ustar and GNU's. */
#define BLOCK          512
#define TAR_SIZE       124
#define TAR_SIZE_BYTES 12
#define TAR_TYPE       156
#define TAR_MAGIC      257

/* An archive has a handful: descriptor, manifest, certificate, disk. */
#define MEMBERS_MAX 1000

/* A sparse VMDK's header, little endian. Source: VMware's Virtual Disk Format 5.0, and QEMU's
 * block/vmdk.c, which reads the embedded descriptor within the first part. */
#define VMDK_CAPACITY 12 /* sectors */
#define VMDK_HEAD     65536
#define VMDK_MAX      ((UINT64_C(8) << 40) / BLOCK)

static bool is_tar_header(const uint8_t *block)
{
	return memcmp(block + TAR_MAGIC, "ustar", 5) == 0;
}

/* Octal digits, or GNU's form of larger numbers: big endian behind a byte of 0x80. */
static int parse_size(const uint8_t *field, uint64_t *ret)
{
	size_t i = 0;

	*ret = 0;
	if (field[0] == 0x80) {
		for (i = 1; i < TAR_SIZE_BYTES; i++) {
			if (*ret >> 48)
				return -EINVAL;
			*ret = *ret << 8 | field[i];
		}
		return 0;
	}
	while (i < TAR_SIZE_BYTES && field[i] == ' ')
		i++;
	for (; i < TAR_SIZE_BYTES && field[i] >= '0' && field[i] <= '7'; i++)
		*ret = *ret << 3 | (uint64_t)(field[i] - '0');
	return i == TAR_SIZE_BYTES || field[i] == '\0' || field[i] == ' ' ? 0 : -EINVAL;
}

bool ova_is_archive(int fd)
{
	uint8_t block[BLOCK];

	return pread(fd, block, sizeof(block), 0) == BLOCK && is_tar_header(block);
}

static uint64_t le64_at(const uint8_t *p)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | p[i];
	return value;
}

/* A disk that is whole in itself: with a capacity of zero the descriptor would name its parts, and
 * a hint of a parent another image. */
static int check_vmdk(int fd, uint64_t offset, uint64_t size, struct error *err)
{
	autofree uint8_t *head = malloc(VMDK_HEAD);
	ssize_t n = head ? pread(fd, head, MIN_OF(size, (uint64_t)VMDK_HEAD), (off_t)offset) : 0;
	uint64_t capacity = n >= BLOCK ? le64_at(head + VMDK_CAPACITY) : 0;

	if (!head)
		return fail(err, -ENOMEM, "out of memory");
	if (capacity == 0 || capacity > VMDK_MAX)
		return fail(err, -EINVAL,
			"the archive's disk is not whole, or larger than a disk can be");
	if (memmem(head, (size_t)n, "parentFileNameHint", strlen("parentFileNameHint")))
		return fail(
			err, -EINVAL, "the archive's disk is an overlay that needs another file");
	return 0;
}

static bool is_vmdk(int fd, uint64_t offset, uint64_t size)
{
	char magic[4];

	return size > BLOCK && pread(fd, magic, sizeof(magic), (off_t)offset) == sizeof(magic) &&
	       memcmp(magic, "KDMV", sizeof(magic)) == 0;
}

/* The header at *at: moves behind its member. Returns 1 with the member's place if it is a regular
 * file, 0 if it is not, -ENODATA at the end, or -EINVAL. */
static int next_member(int fd, uint64_t end, uint64_t *at, uint64_t *ret_offset, uint64_t *ret_size)
{
	uint8_t block[BLOCK];
	uint64_t size;
	char type;

	if (*at == end || pread(fd, block, sizeof(block), (off_t)*at) != BLOCK)
		return *at == end ? -ENODATA : -EINVAL;
	if (block[0] == '\0')
		return -ENODATA;
	if (!is_tar_header(block) || parse_size(block + TAR_SIZE, &size) < 0 ||
		size > end - *at - BLOCK)
		return -EINVAL;
	type = (char)block[TAR_TYPE];
	*ret_offset = *at + BLOCK;
	*ret_size = size;
	*at = MIN_OF(*ret_offset + (size + BLOCK - 1) / BLOCK * BLOCK, end);
	return type == '0' || type == '\0';
}

int ova_find_disk(int fd, uint64_t *ret_offset, uint64_t *ret_size, struct error *err)
{
	uint64_t at = 0, offset = 0, size = 0;
	int found = 0, r = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail_errno(err, -errno, "cannot look at the archive");
	for (int i = 0; i < MEMBERS_MAX && r >= 0; i++) {
		r = next_member(fd, (uint64_t)st.st_size, &at, &offset, &size);
		if (r != 1 || !is_vmdk(fd, offset, size))
			continue;
		*ret_offset = offset;
		*ret_size = size;
		found++;
	}
	if (r != -ENODATA)
		return fail(err, -EINVAL, "the archive is damaged; download it again");
	if (found != 1)
		return fail(err, -EINVAL, "the archive has %s disk in VMDK%s",
			found == 0 ? "no" : "more than one",
			found == 0 ? "; is it an OVA at all?" : ", and a VM starts from one");
	return check_vmdk(fd, *ret_offset, *ret_size, err);
}

/* The disk in the middle of the archive, as QEMU opens it; for free(). */
static char *make_filename(const char *path, uint64_t offset, uint64_t size)
{
	json_int_t start = (json_int_t)offset, length = (json_int_t)size / BLOCK * BLOCK;
	json_t *root = json_pack("{s:s, s:n, s:{s:s, s:I, s:I, s:{s:s, s:s}}}", "driver", "vmdk",
		"backing", "file", "driver", "raw", "offset", start, "size", length, "file",
		"driver", "file", "filename", path);
	autofree char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	char *name = text ? malloc(strlen(text) + sizeof("json:")) : NULL;

	json_decref(root);
	if (name)
		memcpy(mempcpy(name, "json:", 5), text, strlen(text) + 1);
	return name;
}

int ova_convert(int fd, const char *path, const char *target, struct error *err)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	autofree char *source = NULL;
	uint64_t offset, size;
	int r = ova_find_disk(fd, &offset, &size, err);

	if (r < 0)
		return r;
	source = make_filename(path, offset, size);
	if (!source)
		return fail(err, -ENOMEM, "out of memory");
	spec.argv = (const char *const[]){
		"qemu-img", "convert", "-q", "-O", "qcow2", "--", source, target, NULL};
	r = child_run(&spec, CONVERT_TIMEOUT_MS, err);
	if (r == -ENOENT)
		return fail(err, r, "qemu-img is not installed; apt-get install qemu-utils");
	if (r == -EIO) {
		fail_within(err, "the archive's disk cannot be converted");
		return -EBADMSG;
	}
	return r;
}
