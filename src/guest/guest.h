/* The agent's context: one member for each concern, and the loop that serves them.
 *
 * Everything runs on one thread and one poll(2). No handler waits: what needs time (a device that
 * is still to appear, processes that are to end) is looked at again on a later turn of the loop.
 */
#pragma once

#include <poll.h>

#include "guest/link.h"
#include "guest/module.h"
#include "guest/mount.h"
#include "guest/power.h"
#include "guest/spare.h"
#include "guest/sshfs.h"
#include "guest/stream.h"
#include "guest/template.h"

struct call_entry;

struct guest {
	const struct call_entry *calls; /* call_entries, but in the fuzzer */
	struct link link;
	struct streams streams;
	struct spare spare;
	struct mounts mounts;
	struct module module;
	struct sshfs sshfs;
	struct power power;
	struct template template;
	const char *root; /* prefix of every path that calls name; "" but in tests */
	bool is_init;     /* PID 1: every process of the VM is ours */
	bool loopback_is_up;
	bool may_power_off;    /* false in tests: the end of the link ends the process only */
	int signal_fd;         /* SIGCHLD, and SIGTERM of a service manager */
	int64_t call_deadline; /* of the call that is being tried again; 0 = none is */
	int64_t connect_deadline;
	bool stop;
};

/* Returns 0, or a negative errno after which guest_done() is still due. */
int guest_init(struct guest *g, const char *port);
void guest_done(struct guest *g);

/* Serves the host until the link ends. Returns 0 for an orderly end, else negative errno. */
int guest_run(struct guest *g);
