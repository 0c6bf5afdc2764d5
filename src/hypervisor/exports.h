/* Directories that VMs have by the node's NFS server: which VM has which, and that it has them no
 * longer than its connection lives.
 *
 * A VM is known to the NFS server by its address alone, and the next VM may have the same. So an
 * address is let through to the server only for the VM that it is of, and only when nothing is
 * served to it that is another's (net/firewall.h). */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <systemd/sd-event.h>

#include "lib/error.h"

struct exports;

/* Takes `keeper_fd`, of exportkeeper_start(). The end of the keeper ends the event loop: a daemon
 * that is started anew has one. */
int exports_new(sd_event *event, int keeper_fd, struct exports **ret, struct error *err);

/* What VMs have stays. */
struct exports *exports_free(struct exports *e);

struct export_wish {
	const char *vm; /* the id of its record */
	struct in_addr address;
	int fd; /* the directory; borrowed */
	uid_t uid;
	gid_t gid;
	bool read_only;
};

/* Called from the loop, once: `path` is what the VM is to mount, or NULL and `why`. */
typedef void (*export_fn)(const char *path, const char *why, void *userdata);

/* Has a directory served. Returns 0 if `done` will be called, or negative errno with what to do. */
int exports_add(struct exports *e, const struct export_wish *wish, export_fn done, void *userdata,
	struct error *err);

/* A VM of an earlier daemon has come back: it keeps what it has. NULL without exports. */
void exports_claim(struct exports *e, const char *vm);

/* The VM's end: from now on nothing of it is served, and nobody of it is called. */
void exports_end(struct exports *e, const char *vm);

/* For `wnodes node show`; NULL without exports. */
json_t *exports_to_json(const struct exports *e);
