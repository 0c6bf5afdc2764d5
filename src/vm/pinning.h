/* Each virtual CPU on a CPU of its own, where a job has exactly as many: then it shares them with
 * no other job. */
#pragma once

#include "vm/qmp.h"

/* Asks QEMU for the threads of its CPUs and pins them. They are threads of our own child, with our
 * rights; QEMU itself may not do it. Where the CPUs are not as many, nothing is done. Returns 0 or
 * negative errno. */
int pinning_start(struct qmp *q);
