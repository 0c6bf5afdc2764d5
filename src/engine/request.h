/* A request: all that is asked for, with nothing left to look up but the image itself. */
#pragma once

#include "engine/probe.h"
#include "engine/settings.h"
#include "engine/share.h"

/* How a VM is to start. */
enum request_start {
	REQUEST_START_AUTO,  /* from a template if there is one, and else make one for the next */
	REQUEST_START_CLONE, /* from a template, or not at all */
	REQUEST_START_BOOT,
};

struct request {
	const struct caller *caller;
	const struct settings *settings;
	const char *image;
	uint64_t cpus;
	uint64_t memory_mib;
	uint64_t scratch_bytes;
	enum vm_network network;
	enum accel accel;
	enum request_start start;
	struct share_list shares;
	struct strv env;            /* of the command, complete */
	const char **argv;          /* the command; NULL if `probe` is set */
	struct probe_result *probe; /* no command: fill this */
	char *workdir;              /* in the guest */
	uint64_t timeout_us;        /* 0: none */
	bool tty;
	bool verbose;
	bool progress;      /* show a progress line on stderr */
	bool usage;         /* ask at the end what the VM has used, which takes some ms */
	const char *report; /* file for the JSON report, or NULL */
};

void request_done(struct request *r);

/* Adds to the environment what `--env K[=V]` says: "K=V" as it is, "K" with our own value if there
 * is one, and a pattern ("OMP_*", "*") all of ours that match. Returns 0 or -EINVAL. */
int request_add_env(struct request *r, const char *text, struct error *err);
