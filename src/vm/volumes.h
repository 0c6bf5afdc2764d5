/* The site's volumes that a VM has, as QEMU's devices. */
#pragma once

#include "lib/strv.h"
#include "vm/spec.h"

/* Adds them to the command line. Their descriptors are command_descriptors()'s. */
void volumes_add(const struct vm_spec *spec, struct strv *argv);
