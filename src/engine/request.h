/* A request: all that is asked for, with nothing left to look up but the image itself. */
#pragma once

#include "engine/crew.h"
#include "engine/probe.h"
#include "engine/settings.h"
#include "engine/share.h"
#include "engine/volume.h"
#include "image/manifest.h"

/* How a VM is to start. */
enum request_start {
	REQUEST_START_AUTO,  /* from a template if there is one, and else make one for the next */
	REQUEST_START_CLONE, /* from a template, or not at all */
	REQUEST_START_BOOT,
};

/* The commands of a step that share one VM. */
struct request_tasks {
	uint64_t count;   /* the VM ends with the end of the last of so many */
	uint64_t wait_us; /* or when none has been there for so long */
	const char *link; /* becomes a symbolic link to the control socket */
	int guardian_fd;  /* pidfd of a process with which the VM ends; -1: none */
};

/* What a VM is started from where it is no image of a store: parts that the caller has opened, in
 * the place of `image`, which is a name for messages then. */
struct request_parts {
	const struct manifest *manifest;
	int disk_fd, kernel_fd, initrd_fd; /* -1: the manifest has none */
	bool keep; /* the disk, raw and open for writing, is what the VM writes to: no overlay */
};

/* Where the command's streams are, instead of our own; -1: nowhere. */
struct request_streams {
	int stdin_fd, stdout_fd, stderr_fd;
};

struct request {
	const struct caller *caller;
	const struct settings *settings;
	const char *image;
	uint64_t cpus;
	uint64_t memory_mib;
	/* What guest and overhead are to fit into, where the guest's size follows from it; or 0. */
	uint64_t allocation_mib;
	uint64_t scratch_bytes;
	bool root_lvm; /* the root disk is a volume of the node, not an overlay */
	uint64_t disk_iops,
		disk_rate; /* limits of root and scratch disk together, a second; 0: none */
	enum vm_network network;
	const char *network_name; /* of VM_NETWORK_TAP: one of the node's */
	enum accel accel;
	enum request_start start;
	struct share_list shares;
	struct volume_list volumes;
	struct strv env;            /* of the command, complete */
	const char **argv;          /* the command; NULL if `probe` is set */
	const char *script;         /* file of the host that is run as argv[0]; NULL: argv[0] is a
				     * program of the VM */
	const char *errand;         /* text of a script of ours that argv names; NULL: none */
	struct probe_result *probe; /* no command: fill this */
	const char *hostname;       /* of the guest; NULL: the VM's own name */
	bool hostname_known; /* to VMs on other nodes: the name of a lease does not stand for it */
	const struct crew *crew; /* the VMs of the step that know each other; NULL: none do */
	const struct request_tasks *tasks;     /* no command: these come by the control socket */
	char *workdir;                         /* in the guest */
	uint64_t timeout_us;                   /* 0: none */
	const struct request_parts *parts;     /* NULL: an image of a store */
	const struct request_streams *streams; /* NULL: our own */
	bool tty;
	bool verbose;
	bool progress; /* show a progress line on stderr */
	bool usage;    /* ask at the end what the VM has used, which takes some ms */
	/* No template is made beside the command: the job pays for all that runs, and the maker is
	 * what this program is, when it is `wnodes`. */
	bool alone;
	bool patient; /* SIGTERM is passed on and no more: the batch system has its own grace */
	bool *node_failed; /* becomes true if the VM did not start, and it may on another node */
	const struct status_job *job; /* that the VM is of, and whose status is kept; or NULL */
	uint64_t notice_us; /* tell on stderr that a VM takes longer to start; 0: do not */
	const char *report; /* file for the JSON report, or NULL */
	bool record;        /* a usage record is written at the end, which takes some ms, too */
	const char *policy; /* the site's rule that decided, for the record; NULL: none */
	const char *lrms;   /* whose job this is: "slurm"; NULL: what the environment says */
};

void request_done(struct request *r);

/* The word by which it was asked for. */
static inline const char *request_network(const struct request *r)
{
	if (r->network == VM_NETWORK_TAP)
		return r->network_name;
	return r->network == VM_NETWORK_USER ? "user" : "none";
}

/* Is this "NAME", "NAME=VALUE" or a pattern? Returns 0 or -EINVAL. */
int request_check_env(const char *text, struct error *err);

/* Adds to the environment what `--env K[=V]` says: "K=V" as it is, "K" with our own value if there
 * is one, and a pattern ("OMP_*", "*") all of ours that match. Returns 0 or -EINVAL. */
int request_add_env(struct request *r, const char *text, struct error *err);
