/* What the agent does before the command can run: clock, identity, network, mounts, account. All
 * calls go out at once and the agent works through them in order, so that a VM is prepared in one
 * round trip. A second one sets the clock exactly. */
#pragma once

#include "engine/identity.h"
#include "engine/local.h"
#include "vm/agent.h"

struct prepare;

/* `error` NULL: done. Else which step failed and why. Called once, from the agent's callbacks. */
typedef void (*prepare_fn)(const char *error, void *userdata);

/* Where a batch script lies in the VM, and what it may be long at most, as Slurm's. */
#define PREPARE_SCRIPT     "/run/wnodes-script"
#define PREPARE_SCRIPT_MAX (4 * 1024 * 1024)

/* Where the scratch disk is seen in the guest. */
#define PREPARE_SCRATCH "/scratch"

/* What is this VM's own. */
struct prepare_vm {
	const char *hostname, *mac;
	const struct vm_identity *identity;
	const struct card *card;         /* of VM_NETWORK_TAP */
	uint32_t user_mtu;               /* of VM_NETWORK_USER; 0: the usual one */
	const struct share_list *shares; /* with their gateways */
	bool is_clone; /* what it was when it was saved must be changed, not only set */
};

/* `request` and `vm` are needed only during the call. Returns 0 or -errno. */
int prepare_start(struct agent *agent, const struct request *request, const struct prepare_vm *vm,
	prepare_fn done, void *userdata, struct prepare **ret);
struct prepare *prepare_free(struct prepare *p);
DEFINE_CLEANUP(struct prepare *, prepare_free)
