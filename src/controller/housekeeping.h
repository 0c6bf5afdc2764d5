/* What is done every some seconds: slow clients are sent away, lost nodes found, and the
 * certificate is renewed. */
#pragma once

#include "lib/error.h"

struct controller;
struct housekeeping;

int housekeeping_new(struct controller *c, struct housekeeping **ret, struct error *err);

/* Before the writer is freed; what it has is done. */
void housekeeping_stop(struct housekeeping *h);

/* After it. */
struct housekeeping *housekeeping_free(struct housekeeping *h);
