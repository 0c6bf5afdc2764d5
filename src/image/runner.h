/* Long-running programs of a build: what they write goes to a log, and they can be cancelled. */
#pragma once

#include <signal.h>

#include "lib/error.h"
#include "lib/strv.h"

struct runner {
	int log_fd;
	const char *log_path;
	int keep_fd;                         /* a lock that all of them inherit; -1: none */
	const volatile sig_atomic_t *cancel; /* not zero: stop; may be NULL */
	const struct strv *env;              /* NULL: ours */
	const char *workdir;                 /* NULL: ours */
	uint64_t timeout_ms;
};

/* Runs a program to its end. Returns 0, -ENOENT if it is not installed, -ECANCELED, -ETIMEDOUT, or
 * -EIO with the last complaint in the log and the log's name. */
int runner_run(const struct runner *r, const char *const *argv, struct error *err);

/* Lines by which a program says of one below it that it begins, and how it failed. */
#define RUNNER_BEGIN  "wnodes: begin: "
#define RUNNER_FAILED "wnodes: failed: "

/* Finds what in a log explains a failure: the line that says so of a program below, with the last
 * two of that program's; else the first one that says that it is an error ("E: ..."); else the last
 * two lines. Written to `ret` as one line. */
#define RUNNER_REASON_MAX 500
void runner_reason(const char *log, char ret[RUNNER_REASON_MAX]);
