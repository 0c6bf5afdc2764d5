#include "depot/have.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/wire.h"

#define HAVE_HEADER 64 /* bytes */

static const uint8_t have_magic[8] = {'W', 'N', 'h', 'a', 'v', 'e', '1', '\n'};

static void header_format(
	const struct caibx *index, const uint8_t *index_digest, uint8_t ret[HAVE_HEADER])
{
	memset(ret, 0, HAVE_HEADER);
	memcpy(ret, have_magic, sizeof(have_magic));
	memcpy(ret + 8, index_digest, DIGEST_SIZE);
	le64_store(ret + 40, index->size);
	le64_store(ret + 48, index->count);
}

/* Returns how many bytes there were, fewer only at the end of the file, or negative errno. */
static ssize_t read_at(int fd, void *data, size_t length, uint64_t at)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = pread(fd, (uint8_t *)data + done, length - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int write_at(int fd, const void *data, size_t length, uint64_t at)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n =
			pwrite(fd, (const uint8_t *)data + done, length - done, (off_t)(at + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int have_load(
	int fd, const struct caibx *index, const uint8_t index_digest[DIGEST_SIZE], uint8_t *bits)
{
	uint8_t header[HAVE_HEADER], expected[HAVE_HEADER];
	size_t length = (index->count + 7) / 8;
	ssize_t n = read_at(fd, header, sizeof(header), 0);

	memset(bits, 0, length);
	if (n < 0)
		return (int)n;
	header_format(index, index_digest, expected);
	if (n < HAVE_HEADER || memcmp(header, expected, HAVE_HEADER) != 0)
		return 0;
	n = read_at(fd, bits, length, HAVE_HEADER);
	if (n < 0)
		return (int)n;
	if (index->count % 8 != 0) /* bits of chunks that are none */
		bits[length - 1] &= (uint8_t)((1U << (index->count % 8)) - 1);
	return 1;
}

int have_create(int fd, const struct caibx *index, const uint8_t index_digest[DIGEST_SIZE])
{
	uint8_t header[HAVE_HEADER];

	header_format(index, index_digest, header);
	if (ftruncate(fd, 0) < 0)
		return -errno;
	return write_at(fd, header, sizeof(header), 0);
}

int have_store(int fd, size_t first, const uint8_t *bits, size_t length)
{
	return write_at(fd, bits, length, HAVE_HEADER + first);
}
