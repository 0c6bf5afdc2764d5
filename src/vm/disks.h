/* A VM's disks on QEMU's command line: what it starts from and writes to, scratch, seed. */
#pragma once

#include "lib/strv.h"
#include "vm/spec.h"

/* The scratch disk's name among QEMU's block nodes. */
#define DISKS_SCRATCH_NODE "scratch"

/* Adds all of them, in the order in which a guest sees them. Source: qemu-block-drivers(7), version
 * 7.2. */
void disks_add(const struct vm_spec *spec, struct strv *ret_argv);
