/* What is measured: a script that runs in each place, and the numbers that it prints. */
#pragma once

#include "lib/base.h"

#define TRIAL_FIGURES_MAX 16

enum trial_kind {
	TRIAL_LOCAL,   /* on the host, in a VM that has booted, in one that was cloned */
	TRIAL_SHARE,   /* in a directory of the host: there, and through each gateway */
	TRIAL_NETWORK, /* with a server on the host: from there, and by each network of a VM */
};

struct trial_figure {
	const char *key;   /* as the script prints it */
	const char *title; /* for people */
	const char *unit;
	bool lower; /* the better */
};

struct trial {
	const char *name, *title;
	enum trial_kind kind;
	bool wall; /* the figure "wall" is how long all of it took, start and end of a VM included
		    */
	struct trial_figure figures[TRIAL_FIGURES_MAX]; /* up to one without a key */
};

/* In the order in which they are reported; ends with one that has no name. */
extern const struct trial trials[];

/* NULL if there is none of this name. */
const struct trial *trial_find(const char *name);

/* The index of the figure in the trial's table, or -1. */
int trial_find_figure(const struct trial *t, const char *key);
