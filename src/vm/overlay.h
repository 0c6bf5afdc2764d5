/* Overlays: where a VM's writes to its root disk go, thrown away with it. */
#pragma once

#include "lib/error.h"

/* Writes an empty qcow2 image of `virtual_size` bytes (at most 8 TiB) to `fd`, which must be an
 * empty file. It names no backing file: QEMU is told on its command line. Source: QEMU's
 * docs/interop/qcow2.txt, version 3. Returns 0 or negative errno. */
int overlay_write(int fd, uint64_t virtual_size, struct error *err);

/* Makes an overlay in a nameless file in `directory`, which goes with its last descriptor however
 * the VM ends. Returns the descriptor or negative errno (-ENOSPC: no room). */
int overlay_open(const char *directory, uint64_t virtual_size, struct error *err);
