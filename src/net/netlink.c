#include "net/netlink.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/netlink.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

#define REASON_MAX 160

/* What the kernel sends at once, of one device or of some. */
#define EVENT_MAX 32768

struct netlink {
	struct nl_sock *socket;
	char reason[REASON_MAX]; /* of the last call; "": the kernel gave none */
};

int netlink_open(struct netlink **ret, struct error *err)
{
	struct netlink *n AUTO(netlink_freep) = calloc(1, sizeof(*n));
	int one = 1;

	if (!n)
		return fail(err, -ENOMEM, "out of memory");
	n->socket = nl_socket_alloc();
	if (!n->socket)
		return fail(err, -ENOMEM, "out of memory");
	if (nl_connect(n->socket, NETLINK_ROUTE) < 0)
		return fail_errno(err, -errno, "cannot ask the kernel about its networks");
	/* Sentences, and no copy of the question; old kernels do without. */
	setsockopt(nl_socket_get_fd(n->socket), SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(nl_socket_get_fd(n->socket), SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	*ret = TAKE_PTR(n);
	return 0;
}

struct netlink *netlink_free(struct netlink *n)
{
	if (!n)
		return NULL;
	nl_socket_free(n->socket);
	free(n);
	return NULL;
}

struct nl_msg *netlink_message(int type, int flags, const void *header, size_t length)
{
	struct nl_msg *message = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);

	assert(message);
	if (nlmsg_append(message, (void *)(uintptr_t)header, length, NLMSG_ALIGNTO) < 0)
		abort();
	return message;
}

void netlink_put(struct nl_msg *message, int type, const void *data, size_t length)
{
	if (nla_put(message, type, (int)length, data) < 0)
		abort();
}

void netlink_put_u32(struct nl_msg *message, int type, uint32_t value)
{
	netlink_put(message, type, &value, sizeof(value));
}

void netlink_put_text(struct nl_msg *message, int type, const char *text)
{
	netlink_put(message, type, text, strlen(text) + 1);
}

struct nlattr *netlink_nest(struct nl_msg *message, int type)
{
	struct nlattr *nest = nla_nest_start(message, type);

	assert(nest);
	return nest;
}

void netlink_end_nest(struct nl_msg *message, struct nlattr *nest)
{
	nla_nest_end(message, nest);
}

/* The attributes of an error stand behind its errno and the header of the question. */
static void take_reason(struct netlink *n, const struct nlmsghdr *header)
{
	const size_t start = sizeof(struct nlmsgerr);
	struct nlattr *table[NLMSGERR_ATTR_MAX + 1];
	uint8_t *payload = nlmsg_data(header);
	size_t length = (size_t)nlmsg_datalen(header);

	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS) || !(header->nlmsg_flags & NLM_F_CAPPED) ||
		length < start)
		return;
	if (nla_parse(table, NLMSGERR_ATTR_MAX, (struct nlattr *)(void *)(payload + start),
		    (int)(length - start), NULL) == 0 &&
		table[NLMSGERR_ATTR_MSG])
		snprintf(n->reason, sizeof(n->reason), "%.*s", nla_len(table[NLMSGERR_ATTR_MSG]),
			(const char *)nla_data(table[NLMSGERR_ATTR_MSG]));
}

struct answer {
	uint32_t sequence;
	netlink_fn each;
	void *userdata;
	int result; /* of `each` */
	bool ended;
};

/* Returns 0 or what the kernel has answered. */
static int read_message(struct netlink *n, const struct nlmsghdr *header, struct answer *answer)
{
	const struct nlmsgerr *error = nlmsg_data(header);

	if (header->nlmsg_seq != answer->sequence)
		return 0;
	if (header->nlmsg_type == NLMSG_ERROR) {
		answer->ended = true;
		take_reason(n, header);
		return error->error;
	}
	if (header->nlmsg_type == NLMSG_DONE)
		answer->ended = true;
	else if (answer->each && answer->result == 0)
		answer->result = answer->each(header, answer->userdata);
	return 0;
}

static int read_answer(struct netlink *n, struct answer *answer)
{
	struct sockaddr_nl from;
	int r = 0;

	while (r == 0 && !answer->ended) {
		autofree unsigned char *bytes = NULL;
		int length = nl_recv(n->socket, &from, &bytes, NULL);
		struct nlmsghdr *header = (struct nlmsghdr *)(void *)bytes;

		if (length <= 0)
			return -EIO;
		for (; nlmsg_ok(header, length) && r == 0; header = nlmsg_next(header, &length))
			r = read_message(n, header, answer);
	}
	return r < 0 ? r : answer->result;
}

int netlink_call(struct netlink *n, struct nl_msg *message, netlink_fn each, void *userdata)
{
	struct answer answer = {.each = each, .userdata = userdata};
	struct nlmsghdr *header = nlmsg_hdr(message);
	int r;

	n->reason[0] = '\0';
	if (!(header->nlmsg_flags & NLM_F_DUMP))
		header->nlmsg_flags |= NLM_F_ACK;
	r = nl_send_auto(n->socket, message);
	answer.sequence = header->nlmsg_seq;
	nlmsg_free(message);
	return r < 0 ? -EIO : read_answer(n, &answer);
}

int netlink_watch_links(struct netlink **ret, struct error *err)
{
	struct netlink *n AUTO(netlink_freep) = NULL;
	int r = netlink_open(&n, err);

	if (r < 0)
		return r;
	if (nl_socket_add_membership(n->socket, RTNLGRP_LINK) < 0)
		return fail_errno(err, -errno, "cannot watch the node's network devices");
	*ret = TAKE_PTR(n);
	return 0;
}

int netlink_descriptor(const struct netlink *n)
{
	return nl_socket_get_fd(n->socket);
}

int netlink_hear(struct netlink *n, netlink_fn each, void *userdata)
{
	for (;;) {
		alignas(struct nlmsghdr) uint8_t bytes[EVENT_MAX];
		struct sockaddr_nl from = {0};
		socklen_t size = sizeof(from);
		struct nlmsghdr *header = (struct nlmsghdr *)(void *)bytes;
		ssize_t got = recvfrom(nl_socket_get_fd(n->socket), bytes, sizeof(bytes),
			MSG_DONTWAIT, (struct sockaddr *)&from, &size);
		int length = (int)got;

		if (got < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (from.nl_pid != 0) /* not the kernel */
			continue;
		for (; nlmsg_ok(header, length); header = nlmsg_next(header, &length))
			each(header, userdata);
	}
}

int netlink_fail(const struct netlink *n, int code, struct error *err, const char *format, ...)
{
	char what[ERROR_TEXT_MAX / 2];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (!n->reason[0])
		return fail_errno(err, code, "%s", what);
	return fail(err, code, "%s: %s (%s)", what, strerror(-code), n->reason);
}
