/* The network card that a VM is lent: a tap on one of the node's networks, or on that of its job.
 */
#pragma once

#include "hypervisor/call.h"
#include "hypervisor/taps.h"

struct hypervisor;
struct jobnet_place;

struct loan_card {
	struct tap *tap;            /* NULL: it is on none of the node's networks */
	struct jobnet_place *place; /* NULL: nor on its job's */
};

/* May this VM be on the network that it asks for? Makes nothing. Returns 0 or negative errno with
 * what to do. */
int loan_card_check(struct loan_card *c, const struct hypervisor *h, const struct call *call,
	uid_t uid, struct error *err);

/* Makes the tap, if one is wished for. Returns 0 or negative errno. */
int loan_card_open(struct loan_card *c, const struct hypervisor *h, const struct tap_wish *wish,
	struct error *err);

/* The descriptors of its tap, which stay ours: none if there is none. */
struct vm_tap loan_card_tap(const struct loan_card *c);

/* The VM has them. */
void loan_card_sent(const struct loan_card *c);

/* What the VM is to be told of it. A new object; NULL: there is none. */
json_t *loan_card_to_json(const struct loan_card *c);

/* Takes it back, if the daemon does not end. */
void loan_card_close(struct loan_card *c, const struct hypervisor *h);
