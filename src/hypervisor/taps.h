/* Network cards that VMs are lent: a tap each, connected to one of the node's networks.
 *
 * A tap is gone with its last descriptor, so that nothing is left of a daemon that is killed while
 * it makes one, or of a VM that ends while there is none. Whoever still has a descriptor when the
 * VM's connection ends has one of nothing. */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <systemd/sd-event.h>

#include "engine/settings.h"
#include "vm/tap.h"

struct names;
struct taps;
struct tap;

/* Reads the networks of the settings, as taps_load(), and looks what taps a daemon before us has
 * lent. Returns 0 or negative errno; that there are no rights for networks is told to who wants
 * one. */
int taps_new(sd_event *event, const struct settings *settings, const char *pushed, const char *path,
	struct taps **ret, struct error *err);
struct taps *taps_free(struct taps *t);

/* Reads them again, of the files of the settings; VMs keep the ones they have. Returns 0, or
 * negative errno and nothing has changed. */
int taps_load(struct taps *t, const char *pushed, const char *path, struct error *err);

struct tap_wish {
	const char *network;
	const char *record_id; /* of the VM's usage record, by which its tap is called */
	uid_t uid;
	const json_t *lease; /* of the site; NULL: none */
	uint64_t cpus;
	uint64_t queues; /* most that who asks can take; 0: it knows of one, and not of vhost-net */
};

/* Is this network there for this user? Makes nothing. Returns 0 or negative errno with what to do.
 */
int taps_check(const struct taps *t, const char *network, uid_t uid, struct error *err);

int taps_open(struct taps *t, const struct tap_wish *wish, struct tap **ret, struct error *err);

/* That of a VM which has come back, or NULL. */
struct tap *taps_claim(struct taps *t, const char *record_id);

/* Takes it back: from now on nothing goes through it. NULL is none. With `leave` the VM goes on. */
struct tap *taps_close(struct taps *t, struct tap *tap, bool leave);

/* The descriptors that its VM is to have; they stay the tap's. None of those but the first are left
 * when they are sent. */
const struct vm_tap *tap_lent(const struct tap *tap);
void tap_sent(struct tap *tap);

/* The VM's address, and the node's on the same network, by which it reaches the node. Returns 0, or
 * -ENOENT with what to do if the node is not on that network. */
int tap_get_path(const struct tap *tap, struct in_addr *ret_own, struct in_addr *ret_node,
	struct error *err);

/* What the VM is to be told: {"name","mac","address","prefix","gateway","nameservers","mtu",
 * "address6","prefix6","gateway6"}, without those that it has not. A new object. */
json_t *tap_to_json(const struct tap *tap);

/* The name of its VM's lease is told to the site's DNS, with the tap's addresses. `vm` is the id of
 * its usage record. */
void tap_tell_name(const struct tap *tap, const json_t *lease, const char *vm, struct names *names);

/* What the VM has received and sent, by the kernel. Returns false if that cannot be seen. */
bool tap_count(struct tap *tap, uint64_t *ret_received_bytes, uint64_t *ret_sent_bytes);
