/* What the network's trials speak with: servers on this host, for as long as they are measured. */
#pragma once

#include "lib/error.h"

struct server {
	int iperf, sockperf; /* pidfds; -1: it is not installed */
	unsigned int iperf_port, sockperf_port;
};

#define SERVER_INIT                         \
	{                                   \
		.iperf = -1, .sockperf = -1 \
	}

/* Starts them on ports of `address` that are free; "0.0.0.0" is all of this host's. One that is not
 * installed is left out, and its port is 0. Returns 0 or negative errno. */
int server_start(struct server *s, const char *address, struct error *err);

/* Ends them; also what was started in halves, or not at all. */
void server_stop(struct server *s);
