#include "image/kernel.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/wire.h"

/* Ten times what distributions ship. */
#define KERNEL_IMAGE_MAX    (256 * 1024 * 1024)
#define KERNEL_UNPACKED_MAX (1024 * 1024 * 1024)
#define UNPACK_TIMEOUT_MS   120000
#define UNPACK_CHUNK        (256 * 1024)

/* Offsets in the boot protocol's header. */
#define HEADER_SETUP_SECTS    0x1f1
#define HEADER_BOOT_FLAG      0x1fe
#define HEADER_MAGIC          0x202
#define HEADER_VERSION        0x206
#define HEADER_PAYLOAD_OFFSET 0x248
#define HEADER_PAYLOAD_LENGTH 0x24c

#define SECTOR_SIZE         512
#define SETUP_SECTS_DEFAULT 4 /* what a zero means */
#define VERSION_PAYLOAD     0x0208

/* The Xen ELF note that says where a PVH guest begins. */
#define NOTE_PVH_ENTRY 18

static const char *const unpack_xz[] = {"xz", "-dc", "--single-stream", NULL};
static const char *const unpack_lz4[] = {"lz4", "-dc", NULL};
static const char *const unpack_zstd[] = {"zstd", "-dcq", NULL};
static const char *const unpack_gzip[] = {"gzip", "-dc", NULL};

static const struct {
	const char *name;
	size_t length;
	char magic[6];
	const char *const *argv;
	bool size_appended; /* else the size is the format's own last field */
} compressions[] = {
	{"xz", 6,
		"\xfd"
		"7zXZ",
		unpack_xz, true},
	{"lz4", 4, "\x02\x21\x4c\x18", unpack_lz4, true},
	{"zstd", 4, "\x28\xb5\x2f\xfd", unpack_zstd, true},
	{"gzip", 2, "\x1f\x8b", unpack_gzip, false},
};

static int find_payload(
	const uint8_t *image, size_t length, struct kernel_payload *ret, struct error *err)
{
	unsigned sectors;

	if (length < KERNEL_HEADER_SIZE || le16_load(image + HEADER_BOOT_FLAG) != 0xaa55 ||
		memcmp(image + HEADER_MAGIC, "HdrS", 4) != 0)
		return fail(err, -EINVAL, "not a Linux kernel for x86 (bzImage)");
	if (le16_load(image + HEADER_VERSION) < VERSION_PAYLOAD)
		return fail(err, -EINVAL, "the kernel is older than Linux 2.6.24");
	sectors = image[HEADER_SETUP_SECTS] ? image[HEADER_SETUP_SECTS] : SETUP_SECTS_DEFAULT;
	ret->offset =
		(uint64_t)(sectors + 1) * SECTOR_SIZE + le32_load(image + HEADER_PAYLOAD_OFFSET);
	ret->length = le32_load(image + HEADER_PAYLOAD_LENGTH);
	if (ret->length < 16 || ret->offset > length || ret->length > length - ret->offset)
		return fail(err, -EINVAL, "the kernel's header points beyond its file");
	return 0;
}

int kernel_parse(const void *image, size_t length, struct kernel_payload *ret, struct error *err)
{
	const uint8_t *payload;
	int r = find_payload(image, length, ret, err);
	size_t i = 0;

	if (r < 0)
		return r;
	payload = (const uint8_t *)image + ret->offset;
	while (i < ARRAY_SIZE(compressions) &&
		memcmp(payload, compressions[i].magic, compressions[i].length) != 0)
		i++;
	if (i == ARRAY_SIZE(compressions))
		return fail(err, -EINVAL,
			"the kernel is compressed in none of the ways xz, lz4, zstd, gzip");
	ret->unpack = compressions[i].argv;
	ret->unpacked = le32_load(payload + ret->length - 4);
	if (compressions[i].size_appended)
		ret->length -= 4;
	if (ret->unpacked < sizeof(Elf64_Ehdr) || ret->unpacked > KERNEL_UNPACKED_MAX)
		return fail(err, -EINVAL, "the kernel says that it is %llu bytes large",
			(unsigned long long)ret->unpacked);
	return 0;
}

static size_t note_padded(uint32_t size)
{
	return ((size_t)size + 3) & ~(size_t)3;
}

static bool notes_have_pvh(const uint8_t *p, size_t left)
{
	while (left >= sizeof(Elf64_Nhdr)) {
		uint32_t name = le32_load(p), data = le32_load(p + 4), type = le32_load(p + 8);
		size_t size = note_padded(name) + note_padded(data);

		left -= sizeof(Elf64_Nhdr);
		p += sizeof(Elf64_Nhdr);
		if (size > left)
			return false;
		if (type == NOTE_PVH_ENTRY && name == 4 && data >= 4 && memcmp(p, "Xen", 4) == 0)
			return true;
		p += size;
		left -= size;
	}
	return false;
}

static bool elf_is_x86_64(const Elf64_Ehdr *h)
{
	return memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 && h->e_ident[EI_CLASS] == ELFCLASS64 &&
	       h->e_ident[EI_DATA] == ELFDATA2LSB && h->e_machine == EM_X86_64 &&
	       h->e_phentsize == sizeof(Elf64_Phdr);
}

int kernel_check_pvh(const void *elf, size_t length, struct error *err)
{
	const uint8_t *p = elf;
	Elf64_Ehdr header;

	if (length < sizeof(header))
		return fail(err, -EINVAL, "the kernel is not an ELF file");
	memcpy(&header, p, sizeof(header));
	if (!elf_is_x86_64(&header))
		return fail(err, -EINVAL, "the kernel is not an ELF file for x86-64");
	for (size_t i = 0; i < header.e_phnum; i++) {
		uint64_t at = header.e_phoff + i * sizeof(Elf64_Phdr);
		Elf64_Phdr segment;

		if (header.e_phoff > length || at > length - sizeof(segment))
			return fail(err, -EINVAL, "the kernel's ELF header points beyond its file");
		memcpy(&segment, p + at, sizeof(segment));
		if (segment.p_type != PT_NOTE || segment.p_offset > length ||
			segment.p_filesz > length - segment.p_offset)
			continue;
		if (notes_have_pvh(p + segment.p_offset, segment.p_filesz))
			return 0;
	}
	return fail(err, -EINVAL,
		"the kernel has no PVH entry point (CONFIG_PVH); take one of your distribution's"
		" kernels for servers or clouds");
}

/* Copies what the program writes, but not more than the kernel said it would be. */
static int receive(int from, int to, uint64_t limit, struct error *err)
{
	autofree uint8_t *chunk = malloc(UNPACK_CHUNK);
	struct pollfd p = {.fd = from, .events = POLLIN};
	uint64_t done = 0;
	ssize_t n;
	int r;

	if (!chunk)
		return fail(err, -ENOMEM, "out of memory");
	for (;;) {
		r = poll(&p, 1, UNPACK_TIMEOUT_MS);
		if (r == 0)
			return fail(err, -ETIMEDOUT, "unpacking the kernel takes too long");
		n = r <= 0 ? -1 : read(from, chunk, UNPACK_CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (uint64_t)n;
		if (done > limit)
			break;
		r = file_write_all(to, chunk, (size_t)n);
		if (r < 0)
			return fail_errno(err, r, "cannot write the kernel");
	}
	return done == limit ? 0
			     : fail(err, -EINVAL,
				       "the kernel unpacks to another size than its header says");
}

static int run_unpack(
	const struct kernel_payload *payload, int in_fd, int out_fd, struct error *err)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	autoclose int pidfd = -1, reader = -1, writer = -1;
	autoclose int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int ends[2], status, r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return fail_errno(err, -errno, "cannot make a pipe");
	reader = ends[0];
	writer = ends[1];
	spec.argv = payload->unpack;
	spec.stdin_fd = in_fd;
	spec.stdout_fd = writer;
	spec.stderr_fd = quiet;
	r = child_spawn(&spec, &pid, &pidfd, err);
	if (r == -ENOENT)
		return fail(err, r, "'%s' is needed to unpack the kernel; apt-get install %s",
			payload->unpack[0],
			streq(payload->unpack[0], "xz") ? "xz-utils" : payload->unpack[0]);
	if (r < 0)
		return r;
	writer = base_close(writer);
	r = receive(reader, out_fd, payload->unpacked, err);
	if (r < 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	reader = base_close(reader);
	status = child_wait(pidfd, UNPACK_TIMEOUT_MS);
	if (r == 0 && (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0))
		r = fail(err, -EIO, "'%s' could not unpack the kernel", payload->unpack[0]);
	return r;
}

/* The payload in a nameless file of its own, for the program's stdin. */
static int payload_open(const uint8_t *image, const struct kernel_payload *payload)
{
	autoclose int fd = memfd_create("kernel", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = file_write_all(fd, image + payload->offset, payload->length);
	if (r < 0)
		return r;
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : TAKE_FD(fd);
}

/* Maps a file of at most `max` bytes. */
static const uint8_t *map_file(int fd, uint64_t max, size_t *ret_length, struct error *err)
{
	struct stat st;
	const void *p;

	if (fstat(fd, &st) < 0 || st.st_size <= 0 || (uint64_t)st.st_size > max) {
		fail(err, -EINVAL, "the kernel is empty or too large");
		return NULL;
	}
	*ret_length = (size_t)st.st_size;
	p = mmap(NULL, *ret_length, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED) {
		fail_errno(err, -errno, "cannot read the kernel");
		return NULL;
	}
	return p;
}

static void unmap_file(const uint8_t *p, size_t length)
{
	munmap((void *)(uintptr_t)p, length);
}

static int extract_mapped(const uint8_t *image, size_t length, int out_fd, struct error *err)
{
	struct kernel_payload payload = {0};
	autoclose int in_fd = -1;
	int r = kernel_parse(image, length, &payload, err);

	if (r < 0)
		return r;
	in_fd = payload_open(image, &payload);
	if (in_fd < 0)
		return fail_errno(err, in_fd, "cannot copy the kernel");
	return run_unpack(&payload, in_fd, out_fd, err);
}

int kernel_extract(int image_fd, int out_fd, struct error *err)
{
	size_t length = 0;
	const uint8_t *p = map_file(image_fd, KERNEL_IMAGE_MAX, &length, err);
	int r;

	if (!p)
		return -EINVAL;
	r = extract_mapped(p, length, out_fd, err);
	unmap_file(p, length);
	if (r < 0)
		return r;
	p = map_file(out_fd, KERNEL_UNPACKED_MAX, &length, err);
	if (!p)
		return -EINVAL;
	r = kernel_check_pvh(p, length, err);
	unmap_file(p, length);
	return r;
}
