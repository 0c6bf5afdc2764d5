/* IDENTITY: who this VM is. */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

/* Writes the files below `root`; what needs the kernel is done by identity_on_call(). */
int identity_set_files(const char *root, const struct identity *x, struct error *err);
