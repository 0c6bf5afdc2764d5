/* The site's volumes on this node: those whose data it keeps ([node] volumes), which it makes,
 * grows, removes and serves as the controllers say, and those that its VMs use. The courier brings
 * what is to be done, each second or so, all of it: what is not there is not served. */
#pragma once

#include "hypervisor/volume_use.h"

struct hypervisor;
struct cloud;

/* `socket` is the daemon's. Returns 0 or negative errno. */
int cloud_new(struct hypervisor *h, const char *socket, struct cloud **ret, struct error *err);
struct cloud *cloud_free(struct cloud *v);
DEFINE_CLEANUP(struct cloud *, cloud_free)

/* A VM wants one; as volume_uses_add(). */
int cloud_attach(struct cloud *v, const struct volume_wish *wish, volume_use_fn done,
	void *userdata, struct error *err);
void cloud_claim(struct cloud *v, const char *vm);
void cloud_end(struct cloud *v, const char *vm);

/* What the controllers are told, a new object; "poll": whether they are to be asked again soon,
 * "tell" (not there: nothing): what they are told. */
json_t *cloud_ask(struct cloud *v);

/* What they have answered, as a file that the courier has written. Returns 0 or negative errno. */
int cloud_hear(struct cloud *v, int fd, struct error *err);

/* For `wnodes node show`; NULL where there are none. */
json_t *cloud_to_json(const struct cloud *v);
