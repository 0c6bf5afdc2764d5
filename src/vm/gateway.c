#include "vm/gateway.h"

#include "lib/child.h"
#include "lib/printable.h"
#include "vm/relay.h"

static const struct gateway *const gateways[] = {
	&gateway_9p, &gateway_virtiofs, &gateway_sshfs, &gateway_nfs};

const struct gateway *gateway_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(gateways); i++)
		if (streq(gateways[i]->name, name))
			return gateways[i];
	return NULL;
}

const struct gateway *gateway_at(size_t i)
{
	return i < ARRAY_SIZE(gateways) ? gateways[i] : NULL;
}

size_t gateway_index(const struct vm_share *shares, size_t i)
{
	size_t n = 0;

	for (size_t k = 0; k < i; k++)
		n += shares[k].gateway == shares[i].gateway;
	return n;
}

void gateway_helper_stop(struct gateway_helper *h)
{
	h->fd = base_close(h->fd);
	h->relay = relay_free(h->relay);
	if (h->pid > 0)
		child_kill(h->pidfd);
	h->pid = 0;
	h->pidfd = base_close(h->pidfd);
	h->messages_fd = base_close(h->messages_fd);
}

void gateway_helper_messages(const struct gateway_helper *h, char *ret, size_t size)
{
	off_t end = h->messages_fd < 0 ? 0 : lseek(h->messages_fd, 0, SEEK_END);
	off_t from = end > (off_t)size - 1 ? end - (off_t)size + 1 : 0;
	ssize_t n = end > 0 ? pread(h->messages_fd, ret, size - 1, from) : 0;

	n = MAX_OF(n, 0);
	while (n > 0 && (ret[n - 1] == '\n' || ret[n - 1] == '\r'))
		n--;
	ret[n] = '\0';
	printable_make_line(ret, (size_t)n);
}
