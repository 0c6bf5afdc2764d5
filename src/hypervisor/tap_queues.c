/* The queues of a VM's tap, and vhost-net for them: with one queue, a VM of many CPUs has one of
 * them do all of its network. */
#include <errno.h>

#include "hypervisor/tap_private.h"
#include "net/vhostnet.h"

/* Below it one CPU is enough for the network, and queues would only cost. */
#define QUEUES_FROM_CPUS 4

size_t tap_queues_count(const struct network *network, const struct tap_wish *wish)
{
	uint64_t n = wish->cpus < QUEUES_FROM_CPUS ? 1 : wish->cpus;

	if (network->queues)
		n = MIN_OF(network->queues, wish->cpus);
	n = MIN_OF(n, MIN_OF(wish->queues, (uint64_t)VM_QUEUES_MAX));
	return (size_t)MAX_OF(n, UINT64_C(1));
}

int tap_queues_open(const struct network *network, const struct tap_wish *wish, struct tap *tap,
	struct error *err)
{
	struct vm_tap *lent = &tap->lent;
	size_t count = tap_queues_count(network, wish);
	int r = link_open_tap(tap->name, count, lent->fds, err);

	if (r < 0)
		return r;
	lent->count = count;
	tap->fd = lent->fds[0];
	/* Who does not ask for queues does not know of vhost-net either. */
	if (wish->queues == 0 || streq(network->vhost, "no"))
		return 0;
	r = vhostnet_open(
		VHOSTNET_DEVICE, count, streq(network->vhost, "yes"), lent->vhost_fds, err);
	lent->vhost_count = r > 0 ? (size_t)r : 0;
	return MIN_OF(r, 0);
}

void tap_queues_forget(struct tap *tap)
{
	vm_tap_keep_first(&tap->lent);
}
