/* What the image verbs tell people while they work: one line on a terminal that changes, or with
 * --verbose a line for each step, or nothing. */
#pragma once

#include <signal.h>

#include "lib/base.h"

/* Begins. With `verbose`, messages of the level info are shown from now on. */
void image_progress_start(bool verbose);

/* Callbacks for build_request and import_request. */
void image_progress_step(const char *what, void *userdata);
void image_progress_bytes(uint64_t done, void *userdata);

/* The same with how much there is in all. */
void image_progress_part(uint64_t done, uint64_t total, void *userdata);

/* Wipes the line. */
void image_progress_stop(void);

/* From now on SIGINT, SIGTERM and SIGHUP do not end the program but are told here, so that programs
 * that are at work are stopped in order, and what they left is removed. Not zero: the signal. */
const volatile sig_atomic_t *image_progress_catch_signals(void);
