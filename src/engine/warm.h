/* Making templates: a VM is booted, made quiet by its agent, and saved. Nothing of a user is in it:
 * it sees no share, no network and no account. */
#pragma once

#include "engine/shape.h"
#include "vm/template.h"

struct warm_request {
	const char *image;  /* a reference: NAME[:TAG] or a digest */
	const char *digest; /* that the reference must still stand for; NULL: any */
	const struct settings *settings;
	struct shape shape;
	bool trial; /* of KVM, with which no guest was seen to run yet: else software emulation */
	bool background; /* waits for nobody, and does not try again what failed an hour ago */
	/* Called when a step begins ("boot", ...); may be NULL. */
	void (*on_step)(const char *what, void *userdata);
	void *userdata;
};

/* Makes the template, and removes others if the budget is exceeded. Returns 0 with what was made,
 * 1 if it was there already (*ret then tells of it), -EWOULDBLOCK if another process makes it and
 * this one is not to wait, or another negative errno. */
int warm_make(const struct warm_request *request, struct template_info *ret, struct error *err);

/* Lets a process of its own do that, which is this program and so must be `wnodes`, for the image
 * in `r`, without a tie to the caller, who does not learn how it ends. Returns its pidfd (to be
 * waited for, some time), or negative errno. */
int warm_in_background(const struct shape *shape, const struct resources *r);

/* Makes the calling process, and what it starts, give way to all others: to be the first to lose
 * the processor, the disk and, if it must be, its life. */
void warm_give_way(void);
