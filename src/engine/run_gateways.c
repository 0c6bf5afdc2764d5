/* The programs that serve a VM's shares, and its user network. One that ends takes its share with
 * it, and whoever in the guest waits for a file of it would wait for ever, as QEMU 7.2 cannot
 * connect to another. So the VM ends as well, with the reason. */
#include <errno.h>
#include <stdio.h>

#include "engine/run_private.h"

/* With QEMU's end they end, too, and that may be heard first. */
#define GATEWAY_GRACE_US 200000

static int on_gateway_lost(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct run *run = userdata;
	const struct vm_share *lost = run->lost_share;
	char words[256];

	gateway_helper_messages(&lost->helper, words, sizeof(words));
	if (run->vm && !vm_is_ending(run->vm))
		run_fail(run,
			"the gateway %s of '%s' has ended%s%s; its files are out of the VM's "
			"reach",
			lost->gateway->name, lost->source, words[0] ? ": " : "", words);
	return 0;
}

static int on_helper_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct run *run = userdata;

	for (size_t i = 0; i < run->launch.shares.count; i++)
		if (run->gateways[i] == source)
			run->lost_share = &run->launch.shares.items[i];
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	run->losing = sd_event_source_disable_unref(run->losing);
	return sd_event_add_time_relative(run->event, &run->losing, CLOCK_MONOTONIC,
		GATEWAY_GRACE_US, 0, on_gateway_lost, run);
}

static int run_watch_gateways(struct run *run)
{
	int r = 0;

	for (size_t i = 0; i < run->launch.shares.count && r >= 0; i++) {
		const struct vm_share *share = &run->launch.shares.items[i];

		if (share->gateway->start && !share->gateway->dies_alone &&
			share->helper.pidfd >= 0)
			r = sd_event_add_io(run->event, &run->gateways[i], share->helper.pidfd,
				EPOLLIN, on_helper_end, run);
	}
	return MIN_OF(r, 0);
}

static int on_network_lost(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct run *run = userdata;
	char words[256];

	gateway_helper_messages(&run->launch.passt, words, sizeof(words));
	if (run->vm && !vm_is_ending(run->vm))
		run_fail(run,
			"passt, the VM's user network, has ended%s%s; [vm] user_network = "
			"qemu does without it",
			words[0] ? ": " : "", words);
	return 0;
}

static int on_network_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct run *run = userdata;

	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	run->losing = sd_event_source_disable_unref(run->losing);
	return sd_event_add_time_relative(run->event, &run->losing, CLOCK_MONOTONIC,
		GATEWAY_GRACE_US, 0, on_network_lost, run);
}

static int run_start_network(struct run *run, struct error *err)
{
	int r = launch_start_network(&run->launch, err);

	if (r == 0 && run->launch.passt.pidfd >= 0)
		r = sd_event_add_io(run->event, &run->network, run->launch.passt.pidfd, EPOLLIN,
			on_network_end, run);
	return MIN_OF(r, 0);
}

int run_start_gateways(struct run *run, struct error *err)
{
	int r;

	run_stop_gateways(run);
	r = launch_start_gateways(&run->launch, err);
	if (r == 0)
		r = run_start_network(run, err);
	if (r < 0)
		return r;
	r = run_watch_gateways(run);
	return r < 0 ? fail_errno(err, r, "cannot watch the gateways") : 0;
}

void run_stop_gateways(struct run *run)
{
	for (size_t i = 0; i < VM_SHARES_MAX; i++)
		run->gateways[i] = sd_event_source_disable_unref(run->gateways[i]);
	run->losing = sd_event_source_disable_unref(run->losing);
	run->network = sd_event_source_disable_unref(run->network);
	launch_stop_gateways(&run->launch);
	launch_stop_network(&run->launch);
}
