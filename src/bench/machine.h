/* What it was measured on. */
#pragma once

#include <jansson.h>

/* {"cpu", "cpus", "memory_bytes", "kernel", "os", "qemu"}, as far as it can be found out; NULL when
 * out of memory. `qemu` is the program. */
json_t *machine_to_json(const char *qemu);
