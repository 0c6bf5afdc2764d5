/* Disk images from anywhere: what a file is, by its first bytes.
 *
 * Nothing but these bytes is believed, and no program is asked before: a qcow2 header may name
 * other files of the host as its backing or data file, which even an inspection by QEMU would open.
 */
#pragma once

#include "lib/error.h"

/* So many bytes of the file's start are looked at; fewer if the file is shorter. */
#define DISKFORMAT_HEAD_SIZE 65536

/* Finds out the format, "raw" or "qcow2" (static text), and the virtual size in bytes of an image
 * of `file_size` bytes that begins with `head`. Returns 0, or -EINVAL with what the file is instead
 * and what to do. */
int diskformat_detect(const void *head, size_t length, uint64_t file_size, const char **ret_format,
	uint64_t *ret_disk_size, struct error *err);
