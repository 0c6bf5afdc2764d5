/* What a QEMU that its guest has taken over could send to a relay: any bytes, as messages. The
 * record of them is then sent to a server. */
#include <assert.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vm/vhost.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As much as a socket holds. */
#define INPUT_MAX 65536

static void drain(int fd)
{
	struct vhost_message m = {0};

	while (vhost_message_receive(&m, fd) == 1)
		vhost_message_done(&m);
	vhost_message_done(&m);
}

/* A memory for each that might need one. */
static void add(struct vhost_record *record, struct vhost_message *m)
{
	if (m->header.request == VHOST_SET_MEM_TABLE)
		for (size_t n = m->payload[0] % VHOST_FDS_MAX; n > 0 && m->fd_count == 0; n--)
			m->fds[m->fd_count++] = memfd_create("guest", MFD_CLOEXEC);
	vhost_message_limit(m);
	vhost_record_add(record, m);
	if (m->header.request == VHOST_GET_VRING_BASE)
		vhost_record_stop(record, m->payload[0]);
	vhost_message_done(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhost_record record = {0};
	struct vhost_message m = {0};
	int ends[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	size = MIN_OF(size, (size_t)INPUT_MAX);
	assert(send(ends[0], data, size, 0) == (ssize_t)size);
	while (vhost_message_receive(&m, ends[1]) == 1)
		add(&record, &m);
	vhost_message_done(&m);
	vhost_record_send(&record, ends[0]);
	drain(ends[1]);
	vhost_record_done(&record);
	close(ends[0]);
	close(ends[1]);
	return 0;
}
