/* A disk image is mostly holes: they are hashed from a block of zeros, without reading them. That
 * gives the digest that anyone else gets from the whole file.
 */
#include "lib/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/file.h"

#define DIGEST_BLOCK (1024 * 1024)

static inline EVP_MD_CTX *context_free(EVP_MD_CTX *context)
{
	EVP_MD_CTX_free(context);
	return NULL;
}
DEFINE_CLEANUP(EVP_MD_CTX *, context_free)

static void format_hex(const uint8_t *bytes, size_t count, char *ret_hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < count; i++) {
		ret_hex[2 * i] = digits[bytes[i] >> 4];
		ret_hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	ret_hex[2 * count] = '\0';
}

void digest_format(const uint8_t bytes[DIGEST_SIZE], char ret_hex[DIGEST_HEX_SIZE])
{
	format_hex(bytes, DIGEST_SIZE, ret_hex);
}

static uint8_t digit_value(char digit)
{
	return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

int digest_parse(const char *hex, uint8_t ret[DIGEST_SIZE])
{
	if (!digest_is_hex(hex))
		return -EINVAL;
	for (size_t i = 0; i < DIGEST_SIZE; i++)
		ret[i] = (uint8_t)(digit_value(hex[2 * i]) << 4 | digit_value(hex[2 * i + 1]));
	return 0;
}

static int digest_hole(EVP_MD_CTX *context, uint64_t length)
{
	static const uint8_t zeros[DIGEST_BLOCK];

	while (length > 0) {
		size_t n = MIN_OF(length, (uint64_t)sizeof(zeros));

		if (EVP_DigestUpdate(context, zeros, n) != 1)
			return -EIO;
		length -= n;
	}
	return 0;
}

static int digest_data(EVP_MD_CTX *context, int fd, uint64_t at, uint64_t end, void *block)
{
	while (at < end) {
		size_t want = MIN_OF(end - at, (uint64_t)DIGEST_BLOCK);
		ssize_t n = pread(fd, block, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* The file became shorter: no digest of it would mean anything. */
		if (n == 0 || EVP_DigestUpdate(context, block, (size_t)n) != 1)
			return -EIO;
		at += (uint64_t)n;
	}
	return 0;
}

/* Hashes piece by piece. `seekable` is an open file description of our own, for looking for holes;
 * without one the file is read as if it had none. */
static int digest_pieces(EVP_MD_CTX *context, int fd, int seekable, uint64_t size, void *block)
{
	uint64_t at = 0, start = 0, end = size;
	int r = 0;

	while (at < size && r >= 0) {
		if (seekable >= 0)
			r = file_find_data(seekable, at, size, &start, &end);
		if (r >= 0)
			r = digest_hole(context, start - at);
		if (r >= 0)
			r = digest_data(context, fd, start, end, block);
		at = end;
	}
	return r;
}

/* Opens the file once more, because looking for holes moves the offset, which others may share.
 * Returns -1 where that is not allowed. */
static int digest_reopen(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

/* `seekable` as for digest_pieces(). */
static int digest_by(const EVP_MD *algorithm, int fd, int seekable, uint64_t size, char *ret_hex)
{
	EVP_MD_CTX *context AUTO(context_freep) = EVP_MD_CTX_new();
	autofree void *block = malloc(DIGEST_BLOCK);
	uint8_t bytes[EVP_MAX_MD_SIZE];
	unsigned int count = 0;
	int r;

	if (!context || !block)
		return -ENOMEM;
	if (EVP_DigestInit_ex(context, algorithm, NULL) != 1)
		return -EIO;
	r = digest_pieces(context, fd, seekable, size, block);
	if (r >= 0 && EVP_DigestFinal_ex(context, bytes, &count) != 1)
		r = -EIO;
	if (r >= 0)
		format_hex(bytes, count, ret_hex);
	return r;
}

static int digest_file_by(const EVP_MD *algorithm, int fd, char *ret_hex)
{
	autoclose int seekable = -1;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -ESPIPE;
	seekable = digest_reopen(fd);
	return digest_by(algorithm, fd, seekable, (uint64_t)st.st_size, ret_hex);
}

int digest_device(int fd, uint64_t size, char ret_hex[DIGEST_HEX_SIZE])
{
	return digest_by(EVP_sha256(), fd, -1, size, ret_hex);
}

int digest_file(int fd, char ret_hex[DIGEST_HEX_SIZE])
{
	return digest_file_by(EVP_sha256(), fd, ret_hex);
}

int digest_file_sha512(int fd, char ret_hex[DIGEST_SHA512_HEX_SIZE])
{
	return digest_file_by(EVP_sha512(), fd, ret_hex);
}

int digest_raw(const void *data, size_t length, uint8_t ret[DIGEST_SIZE])
{
	return EVP_Digest(data, length, ret, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

int digest_bytes(const void *data, size_t length, char ret_hex[DIGEST_HEX_SIZE])
{
	uint8_t bytes[DIGEST_SIZE];
	int r = digest_raw(data, length, bytes);

	if (r == 0)
		digest_format(bytes, ret_hex);
	return r;
}

bool digest_is_hex(const char *text)
{
	return strspn(text, "0123456789abcdef") == DIGEST_HEX_SIZE - 1 &&
	       text[DIGEST_HEX_SIZE - 1] == '\0';
}
