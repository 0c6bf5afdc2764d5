/* What clients ask the node's daemon, on its socket: packets as in engine/packet.h, one request
 * each. A connection is a VM: it opens with `open`, and what is lent is taken back when it ends,
 * for whatever reason. Who asks is what the kernel says of the connection.
 *
 *   {"op":"open","image":"NAME[:TAG]","cpus":n,"memory_mib":n,"scratch_bytes":n}
 *       -> {"name","tag","digest","manifest":{...},"descriptors":["disk",...]} and these
 * descriptors: disk, kernel, initrd, seed: the machine's, read-only; as the manifest says overlay:
 * an empty file; scratch: one of scratch_bytes, if there are any, or a volume with a file system.
 * Nameless, the caller's own, and cut off where they grow beyond what was asked for or, any number
 * of times before,
 * {"waiting":{"place":k,"reason":"..."}} with "own":true,"digest":"...": an image of the caller's
 * store, of which only overlay and scratch are lent; with "wait":false: refused where it would wait
 * With "root_lvm":true there is "root" instead of disk and overlay: a volume with the image on it
 * With "network":"NAME", one of the node's networks, there is a descriptor "tap" as well, with
 * virtio headers before its frames, and with "queues":n up to n of them, one a queue, and as many
 * of "vhost", of vhost-net, if the network has it; and
 * "network":{"name","mac","address","prefix","gateway","nameservers","mtu"}: what the VM's card is
 * to have, as nothing else is let through. With "network":"job" it is that of the VM's job, and
 * "job_network":{"key":"32 hex digits","index":n,"nodes":["ADDRESS",...]} says which: the nodes, in
 * the order of their VMs, and which of these this one is.
 * The answer has a "record_id", by which the VM's usage record is known, and a "lease" if the node
 * keeps some of the site's: {"id","name","mac","address","prefix","gateway","nameservers","vlan"};
 * and "limits": {"disk_iops":n,"disk_rate":n}, a second, 0 for none.
 *   {"op":"vm","pid":n,"name":"..."}  the VM's QEMU, a child of the caller, has been started: from
 * now on there will be a record of it                                                        no
 * answer
 *   {"op":"record","record":{...}}  at the VM's end, docs/records.md  -> {} when it is safe from
 * our end
 *   {"op":"hold","image","digest","cpus","memory_mib","pid":n,"record_id","name"}   instead of
 * open, after the daemon was started anew: a VM that goes on, whose QEMU is `pid`, a child of the
 * caller; with descriptors of the volumes that were lent, if some were
 *                                                                        -> {"record_id":"..."}
 *   {"op":"volume","volume":"NAME","read_only":b}  -> {"volume":{"id","read_only"}} with its data
 * as the descriptor "volume", or with "address", "port" and "key", by which another node serves it
 *   {"op":"export","read_only":b}, with a descriptor of a directory that the caller has opened: has
 * the node's NFS server serve it to the VM, which must be on one of the node's networks
 *                                                   -> {"export":{"address","path"}}, to be mounted
 *   {"op":"template","key":"..."}  -> {"descriptors":["memory","state","overlay"]}, all read-only
 * or sealed, or {"none":true}
 *   {"op":"template-failed","key"}  a clone of it did not start: it is thrown away       -> {}
 *   {"op":"used","key","start_us":n}  a clone of it has started                          -> {}
 *   {"op":"wish","accel","cpus","memory_mib","network","slots":n,"scratch":b,"key"}  a template of
 *     this shape would have served                                                       -> {}
 *   {"op":"started"}                the VM's agent has answered                          -> {}
 *   {"op":"failed","reason":"..."}  the VM did not start                                 -> {}
 *   {"op":"map-groups","pid":n}     maps the caller's groups in the user namespace of `pid`, a
 * child of the caller's, for a gateway of the VM                                           -> {}
 *   {"op":"node"}                   -> {"node":{...}}: limits, what is lent, drained or not
 *   {"op":"drain","reason":"..."}, {"op":"resume"}   of root and administrators          -> {}
 * A request that is refused is answered by {"error":"..."}, by which a node that is drained says
 * "drained":true as well. */
#pragma once

#include <jansson.h>

#include "engine/network.h"
#include "lib/digest.h"
#include "lib/uuid.h"
#include "vm/spec.h"

#define CALL_IMAGE_MAX  160 /* with NUL: NAME:TAG of 64 characters each, or a digest */
#define CALL_REASON_MAX 256
#define CALL_NAME_MAX   64
#define CALL_VOLUME_MAX 192

/* Of the node's own that a VM may have: a root disk, and a scratch disk. */
#define CALL_VOLUMES_MAX 2

enum call_op {
	CALL_OPEN,
	CALL_HOLD,
	CALL_TEMPLATE,
	CALL_TEMPLATE_FAILED,
	CALL_USED,
	CALL_WISH,
	CALL_STARTED,
	CALL_FAILED,
	CALL_NODE,
	CALL_DRAIN,
	CALL_RESUME,
	CALL_VM,
	CALL_RECORD,
	CALL_MAP_GROUPS,
	CALL_VOLUME,
	CALL_EXPORT,
	CALL_OPS
};

/* A request; what it does not name is 0 or "". */
struct call {
	enum call_op op;
	char image[CALL_IMAGE_MAX];
	char digest[DIGEST_HEX_SIZE];
	char key[DIGEST_HEX_SIZE];
	char reason[CALL_REASON_MAX]; /* printable, one line */
	char accel[8], network[NETWORK_NAME_MAX];
	char name[CALL_NAME_MAX]; /* of the VM, as its user sees it */
	uint64_t cpus, memory_mib, scratch_bytes, slots, start_us, pid, queues;
	bool own, scratch, no_wait, read_only, root_lvm;
	char volume[CALL_VOLUME_MAX];
	char record_id[UUID_TEXT_SIZE];
	json_t *record, *job_network; /* objects, not looked into yet; part of the request */
	/* `hold`: the volumes that the VM has; `export`: the directory. For a moment; -1: none was
	 * given. */
	int given_fds[CALL_VOLUMES_MAX];
};

/* Checks a request from anyone. Returns 0 or -EINVAL with what is wrong. */
int call_parse(json_t *json, struct call *ret, struct error *err);
