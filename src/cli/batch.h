/* What the verbs of the batch system share: submit, queue, cancel, wait, runner. */
#pragma once

#include "cli/verb.h"
#include "engine/settings.h"
#include "lrms/lrms.h"

struct batch {
	struct settings settings;
	struct lrms_options options;
	struct lrms *lrms; /* NULL until batch_open() */
};

/* Reads the settings. Returns 0 or negative errno. */
int batch_load(struct batch *ret, struct error *err);

/* The same, and opens the batch system that they name. `ret` must not move then. */
int batch_open(struct batch *ret, struct error *err);
void batch_done(struct batch *b);

extern const struct verb verb_submit, verb_queue, verb_cancel, verb_wait, verb_runner;
