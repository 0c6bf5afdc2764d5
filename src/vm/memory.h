/* Guest memory in files: what a template keeps of it, and copies that clones are given. */
#pragma once

#include "lib/error.h"

/* A new memfd of the same size as `from_fd`, with only the parts copied that are no holes. It can
 * be sealed. Moves the offset of `from_fd`. Returns the descriptor or negative errno. */
int memory_copy(int from_fd, struct error *err);

/* Makes a memfd unchangeable for everybody, its maker included, and lets other users open it: QEMU
 * opens what it is given anew, for reading and writing, also where it then maps it privately.
 * Returns 0, -EBUSY while somebody has it mapped for writing, -EINVAL for a file that is no memfd,
 * -EPERM for one that can take no seals, or another negative errno. */
int memory_seal(int memfd, struct error *err);

/* Is this a memfd of `bytes` that nobody can change or cut short? Something to ask of a memory that
 * comes from someone else. Returns 0, -EPERM if it is not, or another negative errno. */
int memory_check_sealed(int fd, uint64_t bytes, struct error *err);

/* Punches holes where whole pages of 4 KiB are zero, so that the file holds only what is used.
 * *ret_bytes (may be NULL) is how much that was. Nobody may write to the file meanwhile. A file
 * system that knows no holes is no error: 0 bytes. Moves the offset. Returns 0 or negative errno.
 */
int memory_dig(int fd, uint64_t *ret_bytes, struct error *err);
