/* Which gateway serves each share of a VM: the one that was asked for, else the best of those that
 * the image can mount, the host can serve and the VM's start allows. And the programs on the host
 * that serve them. */
#pragma once

#include "engine/share.h"
#include "image/manifest.h"

/* Can the image mount these shares at all? What it can is not known of every image. Returns 0 or
 * negative errno with what to do. */
int share_choice_check(const struct share_list *shares, const char *image, const struct manifest *m,
	struct error *err);

/* Does a VM of this image with these shares start from a template? Returns 0, or -EOPNOTSUPP with
 * which stands against it. */
int share_choice_may_clone(
	const struct share_list *shares, const struct manifest *m, struct error *err);

/* How many 9p shares there may be, for the slots of a template. */
size_t share_choice_slots(const struct share_list *shares);

/* Sets the gateway of each of `shares`, which is a copy of the request's, and starts what it
 * needs. Returns 0, or negative errno with what to do and nothing started. */
int share_choice_start(struct share_list *shares, const struct manifest *m, bool is_clone,
	const struct gateway_host *host, struct error *err);

/* Ends what was started; the gateways stay as they are. */
void share_choice_stop(struct share_list *shares);
