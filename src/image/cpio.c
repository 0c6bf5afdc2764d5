#include "image/cpio.h"

#include <errno.h>
#include <stdio.h>

#include "lib/file.h"

#define CPIO_HEADER_SIZE 110
#define CPIO_CHUNK       (256 * 1024)

struct cpio_entry {
	mode_t mode;
	uint64_t size;
	unsigned major, minor;
};

void cpio_init(struct cpio *c, int fd)
{
	*c = (struct cpio){.fd = fd};
}

static void cpio_write(struct cpio *c, const void *data, size_t length)
{
	if (c->error == 0)
		c->error = file_write_all(c->fd, data, length);
}

/* Names and contents end on multiples of four bytes. */
static void cpio_pad(struct cpio *c, uint64_t length)
{
	cpio_write(c, "\0\0\0", (4 - length % 4) % 4);
}

static void cpio_begin(struct cpio *c, const char *name, const struct cpio_entry *entry)
{
	char header[CPIO_HEADER_SIZE + 1];
	size_t name_size = strlen(name) + 1;

	if (entry->size > UINT32_MAX && c->error == 0)
		c->error = -EFBIG;
	snprintf(header, sizeof(header),
		"070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++c->inode,
		entry->mode, 0, 0, S_ISDIR(entry->mode) ? 2 : 1, 0, (unsigned)entry->size, 0, 0,
		entry->major, entry->minor, (unsigned)name_size, 0);
	cpio_write(c, header, CPIO_HEADER_SIZE);
	cpio_write(c, name, name_size);
	cpio_pad(c, CPIO_HEADER_SIZE + name_size);
}

void cpio_add_directory(struct cpio *c, const char *name)
{
	cpio_begin(c, name, &(struct cpio_entry){.mode = S_IFDIR | 0755});
}

void cpio_add_device(struct cpio *c, const char *name, mode_t mode, unsigned major, unsigned minor)
{
	cpio_begin(c, name,
		&(struct cpio_entry){.mode = S_IFCHR | mode, .major = major, .minor = minor});
}

void cpio_add_bytes(struct cpio *c, const char *name, mode_t mode, const void *data, size_t length)
{
	cpio_begin(c, name, &(struct cpio_entry){.mode = S_IFREG | mode, .size = length});
	cpio_write(c, data, length);
	cpio_pad(c, length);
}

static void cpio_copy(struct cpio *c, int fd, uint64_t size)
{
	autofree uint8_t *chunk = malloc(CPIO_CHUNK);
	uint64_t done = 0;

	if (!chunk)
		c->error = -ENOMEM;
	while (c->error == 0 && done < size) {
		size_t want = (size_t)MIN_OF(size - done, (uint64_t)CPIO_CHUNK);
		ssize_t n = pread(fd, chunk, want, (off_t)done);

		if (n <= 0) /* a file that shrinks must not leave a broken archive */
			c->error = n < 0 ? -errno : -EIO;
		else
			cpio_write(c, chunk, (size_t)n);
		done += n > 0 ? (uint64_t)n : 0;
	}
}

void cpio_add_file(struct cpio *c, const char *name, mode_t mode, int fd)
{
	struct stat st;

	if (c->error == 0 && fstat(fd, &st) < 0)
		c->error = -errno;
	if (c->error != 0)
		return;
	cpio_begin(c, name,
		&(struct cpio_entry){.mode = S_IFREG | mode, .size = (uint64_t)st.st_size});
	cpio_copy(c, fd, (uint64_t)st.st_size);
	cpio_pad(c, (uint64_t)st.st_size);
}

int cpio_done(struct cpio *c)
{
	cpio_begin(c, "TRAILER!!!", &(struct cpio_entry){0});
	return c->error;
}
