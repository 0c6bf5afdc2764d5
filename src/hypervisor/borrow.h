/* An image that a VM wants to start from, on its way to the VM: who wants it is known by name, the
 * catalogue decides, it is fetched if it is not here, and its parts are opened. */
#pragma once

#include "hypervisor/call.h"
#include "hypervisor/loan.h"

struct hypervisor;
struct borrow;

struct borrow_wish {
	const char *reference; /* as the user calls it */
	const char *digest; /* of one that was decided upon already, or of the user's own; or "" */
	bool own;           /* it is in the user's own store: it is only decided */
	bool no_wait;
	uid_t uid;
};

struct borrow_events {
	/* It is waited for, and this is how far it is. */
	void (*on_wait)(const char *reason, void *userdata);
	/* The end, always from the loop. `image` has what is lent, and is NULL for one of the
	 * user's own; it is gone afterwards. `why` is NULL, or why there is none; with
	 * `node_failed` another node may have it. */
	void (*on_end)(
		const struct loan_image *image, const char *why, bool node_failed, void *userdata);
	void *userdata;
};

/* *ret is NULL again after the end. Returns 0 or -ENOMEM. */
int borrow_start(struct hypervisor *h, const struct borrow_wish *wish,
	const struct borrow_events *events, struct borrow **ret);

/* Nothing is called any more. */
void borrow_cancel(struct borrow *b);
