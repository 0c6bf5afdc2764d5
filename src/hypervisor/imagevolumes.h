/* Images on volumes: each is written once, checked, and marked as whole; VMs get snapshots of it as
 * their root disks. It stays for the next VM, also when the daemon is started anew, until the image
 * has gone from the node or may not be used any more, or its room is needed. What is not marked is
 * nobody's, and made anew. */
#pragma once

#include "hypervisor/volumes.h"
#include "lib/error.h"

struct hypervisor;
struct imagevolumes;

/* Beside h->volumes, which must be there. Returns 0 or negative errno. */
int imagevolumes_new(struct hypervisor *h, struct imagevolumes **ret, struct error *err);

/* What is being written is given up; before the worker ends. */
void imagevolumes_stop(struct imagevolumes *i);
struct imagevolumes *imagevolumes_free(struct imagevolumes *i);

/* Asks for a snapshot of the image with this digest, which the node has. Returns 1 and the volume,
 * 0 if `done` will be called, or -ENOMEM. */
int imagevolumes_take(struct imagevolumes *i, const char *digest, volume_fn done, void *userdata,
	struct volume **ret);

/* Nothing is called for this caller any more. */
void imagevolumes_cancel(struct imagevolumes *i, const void *userdata);

/* Has the image written soon, if it is not there: a VM will want it. */
void imagevolumes_prepare(struct imagevolumes *i, const char *digest);

/* Does who takes it now wait until it is written? */
bool imagevolumes_must_write(const struct imagevolumes *i, const char *digest);
