/* What one run of a trial in one place has said, line by line. The lines come out of a VM: nothing
 * in them is believed but numbers, and everything has its limit. */
#pragma once

#include "bench/trial.h"

#define READING_TEXT_MAX 256
#define READING_LINE_MAX 1024

struct reading {
	double values[TRIAL_FIGURES_MAX];
	bool has[TRIAL_FIGURES_MAX];
	char programs[READING_TEXT_MAX]; /* "fio 3.33-3, openmpi-bin 4.1.4-3" */
	char size[READING_TEXT_MAX];
	char missing[READING_TEXT_MAX]; /* "fio (Debian package fio)" */
	char why[READING_TEXT_MAX];     /* it failed; empty: it did not */
};

/* The line begins or ends what the host's processor time is taken of. */
enum reading_mark { READING_NO_MARK, READING_BEGIN, READING_END };

/* Takes one line, without its end. Returns a mark, with its key in `ret_key`, which points into the
 * line. Lines that mean nothing are let pass. */
enum reading_mark reading_take(
	struct reading *r, const struct trial *trial, char *line, const char **ret_key);

/* Sets a figure by its key; one that the trial has not is let pass. */
void reading_set(struct reading *r, const struct trial *trial, const char *key, double value);
