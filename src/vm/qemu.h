/* Which QEMU it is: a template only fits the very program that saved it. */
#pragma once

#include "lib/digest.h"

#define QEMU_PROGRAM "qemu-system-x86_64"

/* The file of the program `name` (NULL: QEMU_PROGRAM), looked for in PATH if it has no slash. The
 * caller frees it; NULL if there is none. */
char *qemu_find(const char *name);

/* The program's SHA-256. It is read once and remembered in the cache directory for as long as the
 * file's inode, size and times stay as they are. Returns 0 or negative errno. */
int qemu_digest(const char *name, char ret[DIGEST_HEX_SIZE], struct error *err);
