/* Where an image is made: a working directory, a log, and an environment for the programs that do
 * the work. */
#pragma once

#include "image/runner.h"
#include "image/workdir.h"

struct workshop {
	struct workdir *work;
	char *log_path;
	int log_fd;
	struct strv env;
	struct runner
		runner; /* of programs in the working directory, with their output in the log */
};

#define WORKSHOP_INIT        \
	{                    \
		.log_fd = -1 \
	}

/* Opens all of it; the log is DOING-NAME-TAG.log in the cache directory, and empty. `cancel` (may
 * be NULL) as in struct runner. Returns 0 or negative errno; workshop_done() is due in both cases.
 */
int workshop_open(struct store *s, const char *doing, const char *name, const char *tag,
	const volatile sig_atomic_t *cancel, struct workshop *ret, struct error *err);

/* Removes the directory, not the log. */
void workshop_done(struct workshop *w);

/* Adds "wnodes: WHAT" to the log. */
void workshop_note(const struct workshop *w, const char *what);

/* Removes the log, when it explains nothing. */
void workshop_drop_log(const struct workshop *w);
