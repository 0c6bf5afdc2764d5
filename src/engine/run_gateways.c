/* The programs that serve a VM's shares, and its user network. Of one that ends, a gateway that can
 * starts another, and the guest mounts its share again: what it had open there fails, and its other
 * work goes on. Where that cannot be, whoever in the guest waits for a file of the share would wait
 * for ever; so the VM ends as well, with the reason. */
#include <errno.h>
#include <stdio.h>

#include "engine/run_private.h"
#include "lib/log.h"
#include "lib/path.h"

/* With QEMU's end they end, too, and that may be heard first. */
#define GATEWAY_GRACE_US 200000

/* How often the guest tries to mount again what is still in use. */
#define GATEWAY_REMOUNT_US (2 * 1000 * 1000)

/* One that dies again and again is no gateway. */
#define GATEWAY_RESTARTS_MAX 5

static int run_watch_gateway(struct run *run, size_t i);

static void run_lose_gateway(struct run *run, const struct vm_share *share, const char *why)
{
	if (share->gateway->dies_alone)
		log_warning("the gateway %s of '%s' has ended; %s; uses of it fail in the VM",
			share->gateway->name, share->source, why);
	else
		run_fail(run,
			"the gateway %s of '%s' has ended; %s; its files are out of the VM's reach",
			share->gateway->name, share->source, why);
}

static void run_remount(struct run *run);

static int on_remount(sd_event_source *source, uint64_t usec, void *userdata)
{
	run_remount(userdata);
	return 0;
}

/* What somebody still has open there keeps the old one alive. */
static void on_remounted(const struct reply *reply, void *userdata)
{
	struct gateway_end *end = userdata;
	struct run *run = end->run;

	if (!reply)
		return;
	if (!reply->error) {
		log_debug("the VM has mounted it again");
		return;
	}
	if (!end->told)
		log_warning("a directory of the host is out of the VM's reach until programs there "
			    "close what they have open in it: %s",
			reply->reason);
	end->told = end->remount = true;
	run->remounting = sd_event_source_disable_unref(run->remounting);
	sd_event_add_time_relative(run->event, &run->remounting, CLOCK_MONOTONIC,
		GATEWAY_REMOUNT_US, 0, on_remount, run);
}

/* With it go the mounts below it. */
static void run_remount_share(struct run *run, struct gateway_end *end)
{
	const struct share_list *shares = &run->launch.shares;
	const struct vm_share *lost = &shares->items[end - run->gateway_ends];

	for (size_t i = 0; i < shares->count; i++) {
		const struct vm_share *share = &shares->items[i];
		struct mount_request message;
		struct gateway_mount texts;

		if (share != lost && !path_is_below(share->target, lost->target))
			continue;
		share->gateway->fill_mount(
			share, gateway_index(shares->items, i), &texts, &message);
		message.flags |= MOUNT_AGAIN;
		agent_call(vm_agent(run->vm), FRAME_MOUNT, mount_request_fields, &message,
			on_remounted, end);
	}
}

static void run_remount(struct run *run)
{
	for (size_t i = 0; i < run->launch.shares.count; i++) {
		bool again = run->gateway_ends[i].remount;

		run->gateway_ends[i].remount = false;
		if (again && run->agent_features & AGENT_FEATURE_REMOUNT)
			run_remount_share(run, &run->gateway_ends[i]);
	}
}

/* QEMU has done all that it was told before. */
static void on_gateway_back(json_t *result, const char *error, void *userdata)
{
	run_remount(userdata);
}

static int run_restart_gateway(struct run *run, size_t i, struct error *err)
{
	struct gateway_end *end = &run->gateway_ends[i];
	int r;

	end->source = sd_event_source_disable_unref(end->source);
	if (++end->count > GATEWAY_RESTARTS_MAX)
		return fail(err, -ELOOP, "this was the %u. time", end->count);
	r = launch_restart_gateway(&run->launch, run->event, vm_qmp(run->vm), i, err);
	if (r < 0)
		return r;
	r = run_watch_gateway(run, i);
	end->remount = true;
	end->told = false;
	end->run = run;
	if (r == 0)
		r = qmp_execute(vm_qmp(run->vm), "query-name", NULL, on_gateway_back, run);
	return r < 0 ? fail_errno(err, r, "it cannot be watched") : 0;
}

static void run_replace_gateway(struct run *run, size_t i)
{
	const struct vm_share *share = &run->launch.shares.items[i];
	struct error err = {0};
	char words[256];

	gateway_helper_messages(&share->helper, words, sizeof(words));
	if (run_restart_gateway(run, i, &err) < 0)
		run_lose_gateway(run, share, words[0] ? words : err.text);
	else
		log_warning("the gateway %s of '%s' has ended%s%s, and was started again; what the "
			    "VM had open there is lost",
			share->gateway->name, share->source, words[0] ? ": " : "", words);
}

static int on_gateways_lost(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct run *run = userdata;

	for (size_t i = 0; i < run->launch.shares.count; i++) {
		bool lost = run->gateway_ends[i].lost;

		run->gateway_ends[i].lost = false;
		if (lost && run->vm && !vm_is_ending(run->vm))
			run_replace_gateway(run, i);
	}
	return 0;
}

static int on_helper_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct run *run = userdata;

	for (size_t i = 0; i < run->launch.shares.count; i++)
		if (run->gateway_ends[i].source == source)
			run->gateway_ends[i].lost = true;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	run->losing = sd_event_source_disable_unref(run->losing);
	return sd_event_add_time_relative(run->event, &run->losing, CLOCK_MONOTONIC,
		GATEWAY_GRACE_US, 0, on_gateways_lost, run);
}

static int run_watch_gateway(struct run *run, size_t i)
{
	return MIN_OF(
		sd_event_add_io(run->event, &run->gateway_ends[i].source,
			run->launch.shares.items[i].helper.pidfd, EPOLLIN, on_helper_end, run),
		0);
}

static int run_watch_gateways(struct run *run)
{
	int r = 0;

	for (size_t i = 0; i < run->launch.shares.count && r == 0; i++) {
		const struct vm_share *share = &run->launch.shares.items[i];

		if (share->gateway->start && share->helper.pidfd >= 0)
			r = run_watch_gateway(run, i);
	}
	return r;
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
	r = launch_start_gateways(&run->launch, run->event, err);
	if (r == 0)
		r = run_start_network(run, err);
	if (r < 0)
		return r;
	r = run_watch_gateways(run);
	return r < 0 ? fail_errno(err, r, "cannot watch the gateways") : 0;
}

void run_stop_gateways(struct run *run)
{
	for (size_t i = 0; i < VM_SHARES_MAX; i++) {
		sd_event_source_disable_unref(run->gateway_ends[i].source);
		run->gateway_ends[i] = (struct gateway_end){0};
	}
	run->losing = sd_event_source_disable_unref(run->losing);
	run->remounting = sd_event_source_disable_unref(run->remounting);
	run->network = sd_event_source_disable_unref(run->network);
	launch_stop_gateways(&run->launch);
	launch_stop_network(&run->launch);
}
