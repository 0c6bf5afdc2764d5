/* The node's tie with its site's controllers, as the daemon has it: what is kept of the site (a
 * block of leases, a configuration, for how long nobody has answered) and wnodes-courier, a child
 * without rights that alone speaks with the controllers. It is started where [site] controllers is
 * set and the node has joined (`wnodes node join`); when it ends, it is started again, and neither
 * VMs nor what is lent notice.
 *
 * The courier's socket (its standard input) carries packets as in engine/packet.h. It asks, one
 * question at a time, and is answered {"error":"..."} where we refuse:
 *
 *   {"op":"hello"}   -> {"node","controllers":[...],"heartbeat_us","catalogue":"revision" if there
 * is one,"descriptors":[...]} and these: key, certificate, ca: read-only; cursor: how far records
 * have been delivered; refused: records that the site does not take, to append to
 *   {"op":"state"}   -> {"boot","sequence","state","reason","version","cpus","memory_bytes",
 *     "status":{...},"configuration":"revision","autonomous_since":time or null,"leases":[ids],
 *     "descriptors":["vms"]}: the list of all VMs, in a file, as it may be long
 *   {"op":"answered","controller","drained":true|false|null,"reason","leases_unknown":[ids],
 *     "leases_unlisted":[ids],"leases_kept_s"}  a controller has taken a heartbeat: but for those
 *     unknown, leases are the node's for so long since it asked for the state; not there: that is
 *     not known. Unlisted are those that the site has lent the node and the heartbeat did not name
 *                                                                                   -> {}
 *   {"op":"unanswered","reason"}     none has                                        -> {}
 *   {"op":"configuration","revision","text"}                                         -> {}
 *   {"op":"records","from":n,"needed":m}  -> {"file":n,"descriptors":["records"]}: the first file
 *     of records whose number is at least n; {} if there is none. Those before m are not needed
 *   {"op":"leases"}            -> {"give":[{"id","pool",...}],"take":[ids]}, {}: nothing is to be
 * asked
 *   {"op":"leased","given":[...],"taken":[ids]}                                      -> {}
 *   {"op":"catalogue"}  with a file, of catalogue.h: which images there are          -> {}
 *   {"op":"catalogue","reason"}  without: why there is no newer one; "": none is needed  -> {}
 *   {"op":"volumes"}  -> {"poll":b,"tell":{...}}: what the controllers are told of volumes, if
 * anything; poll: they are asked soon again
 *   {"op":"volumed"}  with a file: what they have answered                           -> {}
 *   {"op":"certificate","certificate":PEM}  a new one, for the same key              -> {}
 *
 * Unasked it hears {"changed":true}, once until it asks for the state, and {"volumes":true}, once
 * until it asks for those. */
#pragma once

#include <jansson.h>

#include "hypervisor/block.h"
#include "lib/error.h"

#define LIAISON_DIRECTORY   "site"
#define LIAISON_KEY         LIAISON_DIRECTORY "/key.pem"
#define LIAISON_CERTIFICATE LIAISON_DIRECTORY "/certificate.pem"
#define LIAISON_CA          LIAISON_DIRECTORY "/ca.pem"
#define LIAISON_NAME        LIAISON_DIRECTORY "/node" /* what the site knows this node as */

struct hypervisor;
struct liaison;

/* Does nothing as long as there is no site. Returns 0 or negative errno. */
int liaison_new(struct hypervisor *h, struct liaison **ret, struct error *err);
struct liaison *liaison_free(struct liaison *l);
DEFINE_CLEANUP(struct liaison *, liaison_free)

/* The settings have changed. */
void liaison_reload(struct liaison *l);

/* Something that the site is to know has changed. */
void liaison_note_change(struct liaison *l);

/* There is something to tell of volumes, which is not to wait. */
void liaison_note_volumes(struct liaison *l);

/* What the site knows this node as; NULL: it has none. */
const char *liaison_node(const struct liaison *l);

/* Why no VM may start: the node was alone for too long. NULL: they may. */
const char *liaison_refusal(struct liaison *l);

/* A VM is lent. Returns its lease (new), or NULL if there is none. One that has come back has its
 * lease and its volumes still, one that is gone has neither. */
json_t *liaison_lend(struct liaison *l, const struct block_use *use);
void liaison_claim(struct liaison *l, const char *vm);
void liaison_take_back(struct liaison *l, const char *vm);

/* A new object for `wnodes node show`; NULL without a site. */
json_t *liaison_to_json(struct liaison *l);
