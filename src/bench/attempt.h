/* One run of a trial in one place: a child, whose lines become a reading. */
#pragma once

#include "bench/place.h"
#include "bench/reading.h"

struct attempt {
	const struct trial *trial;
	const struct place *place;
	const struct place_vm *vm;
	bool quick, verbose;
	unsigned int iperf_port, sockperf_port; /* of the host's servers; 0: there are none */
	const char *report;                     /* file that a VM's report goes to */
	int timeout_ms;
};

/* Runs it and fills `ret`; that it failed in its place stands there. Returns 0, or negative errno
 * where nothing could be run at all. */
int attempt_run(const struct attempt *a, struct reading *ret, struct error *err);
