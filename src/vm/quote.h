/* Values inside QEMU's "key=value,key=value" arguments: a comma is written twice. */
#pragma once

#include "lib/base.h"

/* Returns fresh memory, or NULL when out of memory. */
char *quote_option(const char *value);
