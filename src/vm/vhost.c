#include "vm/vhost.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* VIRTIO_F_RING_PACKED: such a queue does not say how far its answers are. */
#define FEATURE_PACKED (1ull << 34)

/* Of the protocol: many queues, and answers that are asked for. All others bring messages that are
 * not known here, some of them from the server's side. */
#define PROTOCOL_KNOWN (1ull << 0 | 1ull << 3)

/* In KICK, CALL and ERR the queue's number has no more bits; the next one says that no descriptor
 * comes along. */
#define QUEUE_MASK 0xff

struct memory_region {
	uint64_t guest, size, user, offset;
};

struct memory_table {
	uint32_t count, padding;
	struct memory_region regions[VHOST_FDS_MAX];
};

struct queue_state {
	uint32_t queue, number;
};

struct queue_address {
	uint32_t queue, flags;
	uint64_t descriptors, used, available, log;
};

enum scope { SCOPE_NONE, SCOPE_DEVICE, SCOPE_QUEUE };

/* What is remembered: once, or once for each queue. */
static const struct rule {
	enum scope scope;
	size_t size; /* of the payload, at least */
	bool may_have_fds;
	bool is_dropped; /* when its queue stops */
} rules[] = {
	[VHOST_SET_FEATURES] = {SCOPE_DEVICE, sizeof(uint64_t)},
	[VHOST_SET_OWNER] = {SCOPE_DEVICE},
	[VHOST_SET_MEM_TABLE] = {SCOPE_DEVICE, offsetof(struct memory_table, regions), true},
	[VHOST_SET_VRING_NUM] = {SCOPE_QUEUE, sizeof(struct queue_state)},
	[VHOST_SET_VRING_ADDR] = {SCOPE_QUEUE, sizeof(struct queue_address), false, true},
	[VHOST_SET_VRING_BASE] = {SCOPE_QUEUE, sizeof(struct queue_state), false, true},
	[VHOST_SET_VRING_KICK] = {SCOPE_QUEUE, sizeof(uint64_t), true, true},
	[VHOST_SET_VRING_CALL] = {SCOPE_QUEUE, sizeof(uint64_t), true},
	[VHOST_SET_VRING_ERR] = {SCOPE_QUEUE, sizeof(uint64_t), true},
	[VHOST_SET_PROTOCOL_FEATURES] = {SCOPE_DEVICE, sizeof(uint64_t)},
	[VHOST_SET_VRING_ENABLE] = {SCOPE_QUEUE, sizeof(struct queue_state), false, true},
};

static struct rule rule_of(uint32_t request)
{
	return request < ARRAY_SIZE(rules) ? rules[request] : (struct rule){SCOPE_NONE};
}

void vhost_message_done(struct vhost_message *m)
{
	for (size_t i = 0; i < m->fd_count; i++)
		base_close(m->fds[i]);
	*m = (struct vhost_message){0};
}

static int take_fds(struct vhost_message *m, struct msghdr *message)
{
	int r = message->msg_flags & MSG_CTRUNC ? -EPROTO : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (m->fd_count < VHOST_FDS_MAX) {
				m->fds[m->fd_count++] = fd;
				continue;
			}
			close(fd);
			r = -EPROTO;
		}
	}
	return r;
}

static ssize_t receive_some(struct vhost_message *m, int fd)
{
	bool in_header = m->have < sizeof(m->header);
	size_t end = sizeof(m->header) + (in_header ? 0 : m->header.size);
	char control[CMSG_SPACE(sizeof(int) * VHOST_FDS_MAX)];
	struct iovec piece = {
		.iov_base = in_header ? (uint8_t *)&m->header + m->have
				      : &m->payload[m->have - sizeof(m->header)],
		.iov_len = end - m->have,
	};
	struct msghdr message = {.msg_iov = &piece,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return -errno;
	m->have += (size_t)n;
	return take_fds(m, &message) < 0 ? -EPROTO : n;
}

int vhost_message_receive(struct vhost_message *m, int fd)
{
	for (;;) {
		ssize_t n;

		if (m->have >= sizeof(m->header) && m->header.size > sizeof(m->payload))
			return -EPROTO;
		if (m->have >= sizeof(m->header) && m->have == sizeof(m->header) + m->header.size)
			return 1;
		n = receive_some(m, fd);
		if (n <= 0 && n != -EINTR)
			return n == 0 && m->have > 0 ? -EPROTO : (int)n;
	}
}

int vhost_message_send(const struct vhost_message *m, int fd)
{
	char control[CMSG_SPACE(sizeof(int) * VHOST_FDS_MAX)] = {0};
	struct vhost_header header = m->header;
	struct iovec pieces[] = {
		{&header, sizeof(header)}, {(void *)(uintptr_t)m->payload, header.size}};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = ARRAY_SIZE(pieces)};
	ssize_t n;

	if (m->fd_count > 0) {
		struct cmsghdr *c;

		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * m->fd_count);
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * m->fd_count);
		memcpy(CMSG_DATA(c), m->fds, sizeof(int) * m->fd_count);
	}
	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	/* The other end reads each before the next one comes: its buffer is never full. */
	return n < 0 ? -errno : (size_t)n == sizeof(header) + header.size ? 0 : -EIO;
}

bool vhost_message_is_question(const struct vhost_message *m)
{
	switch (m->header.request) {
	case VHOST_GET_FEATURES:
	case VHOST_GET_PROTOCOL_FEATURES:
	case VHOST_GET_QUEUE_NUM:
	case VHOST_GET_VRING_BASE:
		return true;
	default:
		return m->header.flags & VHOST_NEED_REPLY;
	}
}

void vhost_message_limit(struct vhost_message *m)
{
	uint64_t features;

	if (m->header.size != sizeof(features))
		return;
	memcpy(&features, m->payload, sizeof(features));
	if (m->header.request == VHOST_GET_FEATURES)
		features &= ~FEATURE_PACKED;
	else if (m->header.request == VHOST_GET_PROTOCOL_FEATURES)
		features &= PROTOCOL_KNOWN;
	memcpy(m->payload, &features, sizeof(features));
}

void vhost_record_done(struct vhost_record *r)
{
	for (size_t i = 0; i < r->count; i++) {
		vhost_message_done(r->entries[i]);
		free(r->entries[i]);
	}
	*r = (struct vhost_record){0};
}

/* The payload of all that is of a queue begins with its number. */
static uint32_t queue_of(const struct vhost_message *m)
{
	uint32_t first;

	memcpy(&first, m->payload, sizeof(first));
	return rule_of(m->header.request).size == sizeof(uint64_t) &&
			       rule_of(m->header.request).may_have_fds
		       ? first & QUEUE_MASK
		       : first;
}

static struct vhost_message *record_find(
	const struct vhost_record *r, uint32_t request, uint32_t queue)
{
	bool is_of_queue = rule_of(request).scope == SCOPE_QUEUE;

	for (size_t i = 0; i < r->count; i++)
		if (r->entries[i]->header.request == request &&
			(!is_of_queue || queue_of(r->entries[i]) == queue))
			return r->entries[i];
	return NULL;
}

static bool memory_is_right(const struct vhost_message *m)
{
	struct memory_table table;

	memcpy(&table, m->payload, sizeof(table));
	return table.count <= VHOST_FDS_MAX && table.count == m->fd_count &&
	       m->header.size >= offsetof(struct memory_table, regions) +
					 table.count * sizeof(table.regions[0]);
}

int vhost_record_add(struct vhost_record *r, struct vhost_message *m)
{
	struct rule rule = rule_of(m->header.request);
	struct vhost_message *entry;

	if (rule.scope == SCOPE_NONE)
		return 0;
	if (m->header.size < rule.size || (m->fd_count > 0 && !rule.may_have_fds) ||
		(m->header.request == VHOST_SET_MEM_TABLE && !memory_is_right(m)))
		return -EPROTO;
	entry = record_find(r, m->header.request, queue_of(m));
	if (!entry && r->count == VHOST_ENTRIES_MAX)
		return -EPROTO;
	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
		r->entries[r->count++] = entry;
	}
	vhost_message_done(entry);
	*entry = *m;
	entry->header.flags &= ~(uint32_t)VHOST_NEED_REPLY;
	m->fd_count = 0;
	return 0;
}

void vhost_record_stop(struct vhost_record *r, uint32_t queue)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		struct vhost_message *m = r->entries[i];

		if (rule_of(m->header.request).is_dropped && queue_of(m) == queue) {
			vhost_message_done(m);
			free(m);
		} else {
			r->entries[kept++] = m;
		}
	}
	r->count = kept;
}

/* How many requests of a queue have been answered, as its guest sees it: in the guest's memory.
 * Servers of one thread answer in order, so that this is also which comes next. Returns 0 or
 * negative errno. */
static int record_answered(const struct vhost_record *r, uint32_t queue, uint32_t *ret)
{
	const struct vhost_message *addresses = record_find(r, VHOST_SET_VRING_ADDR, queue);
	const struct vhost_message *memory = record_find(r, VHOST_SET_MEM_TABLE, queue);
	struct queue_address address;
	struct memory_table table;
	uint16_t used[2]; /* flags, index */

	if (!addresses || !memory)
		return -ENOENT;
	memcpy(&address, addresses->payload, sizeof(address));
	memcpy(&table, memory->payload, sizeof(table));
	for (size_t i = 0; i < memory->fd_count; i++) {
		const struct memory_region *region = &table.regions[i];
		uint64_t at = address.used - region->user;

		if (address.used < region->user || region->size < sizeof(used) ||
			at > region->size - sizeof(used))
			continue;
		if (pread(memory->fds[i], used, sizeof(used), (off_t)(region->offset + at)) !=
			sizeof(used))
			return -EIO;
		*ret = le16toh(used[1]);
		return 0;
	}
	return -ENOENT;
}

static int send_base(const struct vhost_record *r, const struct vhost_message *m, int fd)
{
	struct vhost_message base = *m;
	struct queue_state state;

	memcpy(&state, base.payload, sizeof(state));
	record_answered(r, state.queue, &state.number);
	memcpy(base.payload, &state, sizeof(state));
	return vhost_message_send(&base, fd);
}

/* Both sides look: the server at requests that nobody has read, the guest at answers of which
 * nobody told it. */
static void wake(const struct vhost_record *r)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct vhost_message *m = r->entries[i];

		if (m->fd_count == 1 && (m->header.request == VHOST_SET_VRING_KICK ||
						m->header.request == VHOST_SET_VRING_CALL))
			eventfd_write(m->fds[0], 1);
	}
}

int vhost_record_send(const struct vhost_record *r, int fd)
{
	int result = 0;

	for (size_t i = 0; i < r->count && result == 0; i++) {
		const struct vhost_message *m = r->entries[i];

		result = m->header.request == VHOST_SET_VRING_BASE ? send_base(r, m, fd)
								   : vhost_message_send(m, fd);
	}
	if (result == 0)
		wake(r);
	return result;
}
