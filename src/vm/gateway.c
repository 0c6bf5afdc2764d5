#include "vm/gateway.h"

#include "lib/child.h"

static const struct gateway *const gateways[] = {&gateway_9p};

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
	if (h->pid > 0)
		child_kill(h->pidfd);
	h->pid = 0;
	h->pidfd = base_close(h->pidfd);
}
