#include "controller/intake.h"

#include <errno.h>
#include <sys/mman.h>

#include "lib/file.h"

size_t intake_memory(const struct intake *in)
{
	return in->in_file ? 0 : in->length;
}

size_t intake_file(const struct intake *in)
{
	return in->in_file ? in->length : 0;
}

static void unmap(struct intake *in)
{
	if (in->mapped)
		munmap(in->mapped, in->length);
	in->mapped = NULL;
}

/* What is in memory goes to a file. */
static int move_to_file(struct intake *in, const char *directory)
{
	int fd = file_open_temporary(directory), r;

	if (fd < 0)
		return fd;
	r = in->length > 0 ? file_write_all(fd, buffer_head(&in->memory), in->length) : 0;
	if (r < 0) {
		base_close(fd);
		return r;
	}
	buffer_done(&in->memory);
	in->in_file = true;
	in->fd = fd;
	return 0;
}

int intake_add(struct intake *in, const char *directory, const void *data, size_t length)
{
	int r = 0;

	unmap(in);
	if (directory && !in->in_file && in->length + length > INTAKE_MEMORY_MAX)
		r = move_to_file(in, directory);
	if (r == 0)
		r = in->in_file ? file_write_all(in->fd, data, length)
				: buffer_append(&in->memory, data, length);
	if (r == 0)
		in->length += length;
	return r;
}

const void *intake_get(struct intake *in)
{
	if (!in->in_file)
		return buffer_head(&in->memory);
	if (!in->mapped) {
		in->mapped = mmap(NULL, in->length, PROT_READ, MAP_SHARED, in->fd, 0);
		if (in->mapped == MAP_FAILED)
			in->mapped = NULL;
	}
	return in->mapped;
}

void intake_done(struct intake *in)
{
	unmap(in);
	buffer_done(&in->memory);
	if (in->in_file)
		base_close(in->fd);
	*in = (struct intake){0};
}
