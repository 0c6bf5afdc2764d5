#include "net/rate.h"

#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

/* The kernel counts bursts in ticks of 64 ns. */
#define TICK_NS   64
#define SECOND_NS UINT64_C(1000000000)

/* What may go at once: the frames of 10 ms, and at least one of the largest that a card without
 * segmentation offload is handed. */
#define BURST_PART  100
#define BURST_BYTES UINT64_C(65536)

/* What may wait: 50 ms. More would delay each answer, less lose frames of a sender that is well. */
#define QUEUE_PART  20
#define QUEUE_BYTES UINT64_C(131072)

#define SHARE_MAJOR   (1u << 16)
#define SHARE_ROOT    1u
#define SHARE_DEFAULT 0xffffu
#define HTB_VERSION   3

static uint64_t burst_of(uint64_t bytes)
{
	return MAX_OF(bytes / BURST_PART, BURST_BYTES);
}

static uint32_t ticks_of(uint64_t bytes, uint64_t rate)
{
	uint64_t ticks = (uint64_t)((double)bytes * SECOND_NS / (double)rate / TICK_NS);

	return (uint32_t)MIN_OF(ticks, (uint64_t)UINT32_MAX);
}

/* A link layer that is named spares the kernel a table of sizes. */
static struct tc_ratespec spec_of(uint64_t rate)
{
	return (struct tc_ratespec){.rate = (uint32_t)MIN_OF(rate, (uint64_t)UINT32_MAX),
		.linklayer = TC_LINKLAYER_ETHERNET};
}

static struct nl_msg *queue_message(
	int type, int flags, int index, uint32_t handle, uint32_t parent)
{
	const struct tcmsg header = {.tcm_family = AF_UNSPEC,
		.tcm_ifindex = index,
		.tcm_handle = handle,
		.tcm_parent = parent};

	return netlink_message(type, flags, &header, sizeof(header));
}

int rate_limit(struct netlink *n, int index, uint64_t bytes, struct error *err)
{
	const uint64_t burst = burst_of(bytes);
	const struct tc_tbf_qopt options = {.rate = spec_of(bytes),
		.limit = (uint32_t)MIN_OF(
			MAX_OF(bytes / QUEUE_PART, QUEUE_BYTES) + burst, (uint64_t)INT32_MAX),
		.buffer = ticks_of(burst, bytes)};
	const uint32_t burst_bytes = (uint32_t)MIN_OF(burst, (uint64_t)INT32_MAX);
	struct nl_msg *message =
		queue_message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, index, 0, TC_H_ROOT);
	struct nlattr *nest;
	int r;

	netlink_put_text(message, TCA_KIND, "tbf");
	nest = netlink_nest(message, TCA_OPTIONS);
	netlink_put(message, TCA_TBF_PARMS, &options, sizeof(options));
	netlink_put(message, TCA_TBF_BURST, &burst_bytes, sizeof(burst_bytes));
	if (bytes > UINT32_MAX)
		netlink_put(message, TCA_TBF_RATE64, &bytes, sizeof(bytes));
	netlink_end_nest(message, nest);
	r = netlink_call(n, message, NULL, NULL);
	return r < 0 ? netlink_fail(
			       n, r, err, "cannot limit a VM's rate; does the kernel have sch_tbf?")
		     : 0;
}

static int add_class(struct netlink *n, int index, uint32_t handle, uint32_t parent, uint64_t rate,
	uint64_t ceiling)
{
	const struct tc_htb_opt options = {.rate = spec_of(rate),
		.ceil = spec_of(ceiling),
		.buffer = ticks_of(burst_of(rate), rate),
		.cbuffer = ticks_of(burst_of(ceiling), ceiling),
		.quantum = (uint32_t)MIN_OF(MAX_OF(rate / 1000, UINT64_C(1514)), UINT64_C(60000))};
	struct nl_msg *message =
		queue_message(RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_REPLACE, index, handle, parent);
	struct nlattr *nest;

	netlink_put_text(message, TCA_KIND, "htb");
	nest = netlink_nest(message, TCA_OPTIONS);
	netlink_put(message, TCA_HTB_PARMS, &options, sizeof(options));
	if (rate > UINT32_MAX)
		netlink_put(message, TCA_HTB_RATE64, &rate, sizeof(rate));
	if (ceiling > UINT32_MAX)
		netlink_put(message, TCA_HTB_CEIL64, &ceiling, sizeof(ceiling));
	netlink_end_nest(message, nest);
	return netlink_call(n, message, NULL, NULL);
}

static int add_root(struct netlink *n, int index)
{
	const struct tc_htb_glob options = {
		.version = HTB_VERSION, .rate2quantum = 10, .defcls = SHARE_DEFAULT};
	struct nl_msg *message = queue_message(
		RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, index, SHARE_MAJOR, TC_H_ROOT);
	struct nlattr *nest;
	int r;

	netlink_put_text(message, TCA_KIND, "htb");
	nest = netlink_nest(message, TCA_OPTIONS);
	netlink_put(message, TCA_HTB_INIT, &options, sizeof(options));
	netlink_end_nest(message, nest);
	r = netlink_call(n, message, NULL, NULL);
	return r == -EEXIST ? 0 : r;
}

int rate_share(struct netlink *n, int index, uint64_t capacity, struct error *err)
{
	int r = add_root(n, index);

	if (r == 0)
		r = add_class(n, index, SHARE_MAJOR | SHARE_ROOT, SHARE_MAJOR, capacity, capacity);
	if (r == 0)
		r = add_class(n, index, SHARE_MAJOR | SHARE_DEFAULT, SHARE_MAJOR | SHARE_ROOT,
			MAX_OF(capacity / 100, UINT64_C(1)), capacity);
	return r < 0 ? netlink_fail(n, r, err,
			       "cannot share the network's way out; does the kernel have sch_htb?")
		     : 0;
}

int rate_add_share(struct netlink *n, int index, uint16_t share, uint64_t guaranteed,
	uint64_t ceiling, struct error *err)
{
	int r = add_class(n, index, SHARE_MAJOR | share, SHARE_MAJOR | SHARE_ROOT, guaranteed,
		MAX_OF(ceiling, guaranteed));

	return r < 0 ? netlink_fail(n, r, err, "cannot give a VM its share of the network") : 0;
}

int rate_remove_share(struct netlink *n, int index, uint16_t share)
{
	int r = netlink_call(n,
		queue_message(
			RTM_DELTCLASS, 0, index, SHARE_MAJOR | share, SHARE_MAJOR | SHARE_ROOT),
		NULL, NULL);

	return r == -ENOENT || r == -ENODEV || r == -EINVAL ? 0 : r;
}

struct visit {
	void (*each)(uint16_t share, void *userdata);
	void *userdata;
};

static int on_class(const struct nlmsghdr *header, void *userdata)
{
	const struct visit *visit = userdata;
	const struct tcmsg *class = nlmsg_data(header);
	uint32_t share = TC_H_MIN(class->tcm_handle);

	if (header->nlmsg_type == RTM_NEWTCLASS && share != SHARE_ROOT && share != SHARE_DEFAULT)
		visit->each((uint16_t)share, visit->userdata);
	return 0;
}

int rate_each_share(
	struct netlink *n, int index, void (*each)(uint16_t share, void *userdata), void *userdata)
{
	struct visit visit = {each, userdata};

	return netlink_call(
		n, queue_message(RTM_GETTCLASS, NLM_F_DUMP, index, 0, 0), on_class, &visit);
}
