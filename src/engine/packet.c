#include "engine/packet.h"

#include <errno.h>
#include <sys/socket.h>

union packet_control {
	char bytes[CMSG_SPACE(sizeof(int) * PACKET_FDS_MAX)];
	struct cmsghdr align;
};

int packet_send(int socket, json_t *json, const int *fds, size_t fd_count)
{
	autofree char *text = json_dumps(json, JSON_COMPACT);
	union packet_control control = {0};
	struct iovec iov = {.iov_base = text, .iov_len = text ? strlen(text) : 0};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (!text)
		return -ENOMEM;
	if (iov.iov_len > PACKET_BYTES_MAX || fd_count > PACKET_FDS_MAX)
		return -EMSGSIZE;
	if (fd_count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * fd_count);
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static size_t packet_take_fds(struct msghdr *message, int ret_fds[PACKET_FDS_MAX])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(message);
	size_t n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	n = MIN_OF((c->cmsg_len - CMSG_LEN(0)) / sizeof(int), (size_t)PACKET_FDS_MAX);
	memcpy(ret_fds, CMSG_DATA(c), n * sizeof(int));
	return n;
}

int packet_recv(int socket, json_t **ret, int ret_fds[PACKET_FDS_MAX], size_t *ret_count)
{
	autofree char *text = malloc(PACKET_BYTES_MAX);
	union packet_control control;
	struct iovec iov = {.iov_base = text, .iov_len = PACKET_BYTES_MAX};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		/* Not CMSG_SPACE: the kernel would put one more descriptor into its padding. */
		.msg_controllen = CMSG_LEN(sizeof(int) * PACKET_FDS_MAX)};
	ssize_t n;

	if (!text)
		return -ENOMEM;
	n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	*ret_count = packet_take_fds(&message, ret_fds);
	*ret = n > 0 ? json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (json_is_object(*ret) && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 1;
	json_decref(*ret);
	for (size_t i = 0; i < *ret_count; i++)
		close(ret_fds[i]);
	return n > 0 ? -EPROTO : 0;
}

int packet_check_refusal(json_t **answer, struct error *err)
{
	const char *refusal = json_string_value(json_object_get(*answer, "error"));

	if (!refusal)
		return 0;
	fail(err, -EREMOTEIO, "%s", refusal);
	json_decref(*answer);
	*answer = NULL;
	return -EREMOTEIO;
}
