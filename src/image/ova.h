/* OVA archives (DMTF's Open Virtualization Format), as AppDB and VirtualBox have them: a tar with a
 * descriptor and a disk in VMDK, which is made a qcow2 image.
 *
 * A VMDK may name other files of the host, which even an inspection by QEMU would open; so its
 * header is looked at before any program is. */
#pragma once

#include "lib/error.h"

/* Is it a tar? By its first bytes. */
bool ova_is_archive(int fd);

/* Finds the one disk in the archive: where in the file it lies. Returns 0, or -EINVAL with what is
 * there instead, for an archive that is damaged, or for a disk that needs other files. */
int ova_find_disk(int fd, uint64_t *ret_offset, uint64_t *ret_size, struct error *err);

/* Writes the archive's disk to `target`, a file that is there already, as qcow2, by qemu-img(1).
 * Returns 0, -EINVAL as above, -ENOENT without qemu-img, -EBADMSG for a disk that is damaged, or
 * another negative errno. */
int ova_convert(int fd, const char *path, const char *target, struct error *err);
