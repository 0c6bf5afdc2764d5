/* The vhost-user protocol, as far as somebody between QEMU and a server has to understand it, and
 * what a server has been told by it: enough to tell another one, when the first has died.
 * Source: QEMU docs/interop/vhost-user.rst. */
#pragma once

#include "lib/base.h"

/* The longest message, SET_MEM_TABLE, has 264 bytes. */
#define VHOST_PAYLOAD_MAX 512
#define VHOST_FDS_MAX     8

/* A device of two queues needs some twenty. */
#define VHOST_ENTRIES_MAX 64

enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES,
	VHOST_SET_OWNER,
	VHOST_RESET_OWNER,
	VHOST_SET_MEM_TABLE,
	VHOST_SET_LOG_BASE,
	VHOST_SET_LOG_FD,
	VHOST_SET_VRING_NUM,
	VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_BASE,
	VHOST_GET_VRING_BASE,
	VHOST_SET_VRING_KICK,
	VHOST_SET_VRING_CALL,
	VHOST_SET_VRING_ERR,
	VHOST_GET_PROTOCOL_FEATURES,
	VHOST_SET_PROTOCOL_FEATURES,
	VHOST_GET_QUEUE_NUM,
	VHOST_SET_VRING_ENABLE,
};

enum vhost_flag {
	VHOST_VERSION = 1,
	VHOST_REPLY = 1 << 2,
	VHOST_NEED_REPLY = 1 << 3,
};

struct vhost_header {
	uint32_t request, flags, size; /* bytes of the payload */
};

/* A message, or as much of it as has arrived. Its descriptors are its own. */
struct vhost_message {
	struct vhost_header header;
	uint8_t payload[VHOST_PAYLOAD_MAX];
	size_t have; /* bytes that have arrived, with the header */
	int fds[VHOST_FDS_MAX];
	size_t fd_count;
};

/* Closes its descriptors, and leaves an empty one. */
void vhost_message_done(struct vhost_message *m);

/* Reads what there is, without waiting. Returns 1 when `m` is whole, 0 at the end of file, -EAGAIN
 * when more has to come, or another negative errno: -EPROTO for what is no message. */
int vhost_message_receive(struct vhost_message *m, int fd);

/* Sends it, with its descriptors, which stay its own. Returns 0 or negative errno. */
int vhost_message_send(const struct vhost_message *m, int fd);

/* Does its sender wait for an answer? */
bool vhost_message_is_question(const struct vhost_message *m);

/* Takes out of an answer of the server's what the record could not tell another: features of the
 * device and of the protocol. */
void vhost_message_limit(struct vhost_message *m);

/* What a server has been told; all zeros is an empty one. */
struct vhost_record {
	struct vhost_message *entries[VHOST_ENTRIES_MAX];
	size_t count;
};

void vhost_record_done(struct vhost_record *r);

/* Remembers a message to the server, with its descriptors, in place of one that it replaces; or
 * leaves it alone. Returns 0, or negative errno: -EPROTO if it makes no sense. */
int vhost_record_add(struct vhost_record *r, struct vhost_message *m);

/* The server has stopped a queue, and said where: forgets what would start it. */
void vhost_record_stop(struct vhost_record *r, uint32_t queue);

/* Tells another server all of it: each queue begins with what the first one has not answered, and
 * is kicked. Returns 0 or negative errno. */
int vhost_record_send(const struct vhost_record *r, int fd);
