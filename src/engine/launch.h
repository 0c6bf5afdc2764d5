/* How a VM is started: with which accelerator, from a template or by booting, and what is tried
 * next when it does not come up. */
#pragma once

#include "engine/phase.h"
#include "engine/shape.h"

struct launch {
	const struct request *request;
	struct resources *resources;
	struct shape shape;
	struct share_list shares;    /* the request's, with this attempt's gateways */
	struct gateway_helper passt; /* this attempt's user network; no pidfd: QEMU's own */
	bool trial, trial_failed;    /* of KVM */
	bool huge, without_huge;     /* this attempt has huge pages; an earlier one did not start */
	bool cloning;                /* this attempt starts from the template */
	bool tap_used;               /* an earlier attempt has had the queues of the tap */
	bool stopped;                /* no other attempt is wanted */
	char key[DIGEST_HEX_SIZE];   /* of the template that would fit; "" if that is not known */
};

/* Chooses the accelerator. */
void launch_init(struct launch *l, const struct request *request, struct resources *resources);

/* Once the image is known: looks for a template that fits. Returns 0, or negative errno if the
 * request insists on one and there is none. */
int launch_find_template(struct launch *l, struct error *err);

/* Chooses this attempt's gateways, and starts what they need; `event` serves it. Returns 0 or
 * negative errno. */
int launch_start_gateways(struct launch *l, sd_event *event, struct error *err);

/* Starts what serves share number `i` again, after it has ended; QEMU is told of it by `qmp` where
 * it must know. Returns 0, or negative errno with why the share is lost. */
int launch_restart_gateway(
	struct launch *l, sd_event *event, struct qmp *qmp, size_t i, struct error *err);

/* Does the agent know what the gateways need it for? Returns 0, or -EOPNOTSUPP with what to do. */
int launch_check_agent(const struct launch *l, uint32_t features, struct error *err);

/* Starts what serves this attempt's user network, if it is another program. Returns 0 or negative
 * errno. */
int launch_start_network(struct launch *l, struct error *err);

/* Ends what they needed. */
void launch_stop_gateways(struct launch *l);
void launch_stop_network(struct launch *l);

/* What this attempt is, how long it may take, and what it needs; `name` and `mac` are kept. */
enum phase launch_phase(const struct launch *l);
uint64_t launch_deadline_us(const struct launch *l);
void launch_fill_spec(struct launch *l, const char *name, const char *mac, struct vm_spec *ret);

/* How long a boot of this image may take; with `trial` of an accelerator that is not proved. */
uint64_t launch_boot_deadline_us(
	const struct settings *settings, const struct manifest *manifest, bool trial);

/* The agent has answered. */
void launch_succeeded(struct launch *l, uint64_t took_us);

/* If this attempt fails, is there something to do before the VM's end is the run's? */
bool launch_has_next(const struct launch *l);
void launch_stop(struct launch *l);

/* The VM ended before its agent answered, for this reason. Returns true if another attempt may do
 * better, which is then prepared and announced; false if there is none, with `err` filled only if
 * there is a reason beside the one given. */
bool launch_try_next(struct launch *l, const char *reason, struct error *err);

/* Has the VM booted, and would a template serve the next one like it? */
bool launch_wants_template(const struct launch *l, uint32_t agent_features);
