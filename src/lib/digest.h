/* SHA-256, by libcrypto, and SHA-512 where others have chosen that. */
#pragma once

#include "lib/error.h"

#define DIGEST_HEX_SIZE 65 /* 64 hex digits and NUL */

/* Hashes a file from its start, without moving its offset. Returns 0 or negative errno. */
int digest_file(int fd, char ret_hex[DIGEST_HEX_SIZE]);

/* Hashes the first `size` bytes of what can be read anywhere, such as a block device. Returns 0,
 * -EIO where there are fewer, or negative errno. */
int digest_device(int fd, uint64_t size, char ret_hex[DIGEST_HEX_SIZE]);

#define DIGEST_SHA512_HEX_SIZE 129

/* The same with SHA-512. */
int digest_file_sha512(int fd, char ret_hex[DIGEST_SHA512_HEX_SIZE]);

/* Returns 0 or -EIO. */
int digest_bytes(const void *data, size_t length, char ret_hex[DIGEST_HEX_SIZE]);

#define DIGEST_SIZE 32 /* bytes */

/* SHA-256 as bytes. Returns 0 or -EIO. */
int digest_raw(const void *data, size_t length, uint8_t ret[DIGEST_SIZE]);

/* Bytes to lower-case hex, and back: 0, or -EINVAL unless it is 64 lower-case hex digits. */
void digest_format(const uint8_t bytes[DIGEST_SIZE], char ret_hex[DIGEST_HEX_SIZE]);
int digest_parse(const char *hex, uint8_t ret[DIGEST_SIZE]);

/* Is this text 64 lower-case hex digits? */
bool digest_is_hex(const char *text);
