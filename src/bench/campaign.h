/* A campaign: trials, each in all the places that suit it, round after round, so that what changes
 * on the machine meanwhile meets all places alike. */
#pragma once

#include <jansson.h>

#include "bench/result.h"

#define CAMPAIGN_TRIALS_MAX 16

struct campaign {
	/* What is wanted. */
	const struct trial *trials[CAMPAIGN_TRIALS_MAX];
	struct place places[PLACES_MAX];
	size_t trial_count, place_count;
	struct place_vm vm;
	const char *qemu;
	uint64_t runs;
	bool quick, verbose;
	/* Called before each run; NULL: nobody is told. */
	void (*on_run)(
		const struct trial *t, const struct place *p, uint64_t round, void *userdata);
	void *userdata;
	/* What has come of it. */
	struct result results[CAMPAIGN_TRIALS_MAX][PLACES_MAX];
	char accel[16], digest[65]; /* of the VMs; empty: there was none that ran */
};

/* Measures. That a place is not to be had is no failure, but stands in its results. Returns 0 or
 * negative errno. */
int campaign_run(struct campaign *c, struct error *err);

void campaign_done(struct campaign *c);

/* The place with which others are compared: the host; NULL: it was not measured. */
const struct result *campaign_base(const struct campaign *c, size_t trial);
