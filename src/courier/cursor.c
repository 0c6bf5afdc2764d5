#include "courier/cursor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* Two numbers and their sum, of a fixed width, so that each stands for the one before. */
#define CURSOR_FORMAT "%020" PRIu64 " %020" PRIu64 " %020" PRIu64 "\n"
#define CURSOR_SIZE   63

int cursor_read(int fd, struct cursor *ret)
{
	char text[CURSOR_SIZE + 1] = "";
	uint64_t sum;
	ssize_t n = pread(fd, text, CURSOR_SIZE, 0);

	*ret = (struct cursor){0};
	if (n < 0)
		return -errno;
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &ret->file, &ret->offset, &sum) != 3 ||
		sum != ret->file + ret->offset || ret->file > INT64_MAX || ret->offset > INT64_MAX)
		*ret = (struct cursor){0};
	return 0;
}

int cursor_write(int fd, const struct cursor *c)
{
	char text[CURSOR_SIZE + 1];
	ssize_t n;

	snprintf(text, sizeof(text), CURSOR_FORMAT, c->file, c->offset, c->file + c->offset);
	n = pwrite(fd, text, CURSOR_SIZE, 0);
	if (n != CURSOR_SIZE)
		return n < 0 ? -errno : -EIO;
	return fdatasync(fd) < 0 ? -errno : 0;
}
