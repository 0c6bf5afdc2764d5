/* Linux kernels: from the compressed bzImage that distributions ship to the vmlinux inside.
 *
 * QEMU starts a vmlinux through its PVH entry point directly in 32-bit mode: no firmware, no
 * decompression by the guest (which software emulation makes slow). Sources: Linux
 * Documentation/arch/x86/boot.rst and Xen's docs/misc/pvh.pandoc. */
#pragma once

#include "lib/error.h"

struct kernel_payload {
	uint64_t offset, length;   /* in the bzImage, without the size at its end */
	uint64_t unpacked;         /* what the payload says about its size */
	const char *const *unpack; /* the program to unpack it, as argv */
};

/* Finds the compressed kernel in a bzImage; only its first KERNEL_HEADER_SIZE bytes and the four
 * that end the payload are looked at. Returns 0 or -EINVAL. */
#define KERNEL_HEADER_SIZE 0x250
int kernel_parse(const void *image, size_t length, struct kernel_payload *ret, struct error *err);

/* Is this an x86-64 ELF executable with a PVH entry point? Returns 0, or -EINVAL with what is
 * missing. */
int kernel_check_pvh(const void *elf, size_t length, struct error *err);

/* Writes the vmlinux of the bzImage in `image_fd` to `out_fd`, an empty file. Returns 0 or negative
 * errno (-ENOENT: the program to unpack it is not installed). */
int kernel_extract(int image_fd, int out_fd, struct error *err);
