/* SHA-256 of files, by libcrypto. */
#pragma once

#include "lib/error.h"

#define DIGEST_HEX_SIZE 65 /* 64 hex digits and NUL */

/* Hashes a file from its start, without moving its offset. Returns 0 or negative errno. */
int digest_file(int fd, char ret_hex[DIGEST_HEX_SIZE]);

/* Returns 0 or -EIO. */
int digest_bytes(const void *data, size_t length, char ret_hex[DIGEST_HEX_SIZE]);

/* Is this text 64 lower-case hex digits? */
bool digest_is_hex(const char *text);
