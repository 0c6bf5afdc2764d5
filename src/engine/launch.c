#include "engine/launch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "engine/broker.h"
#include "engine/share_choice.h"
#include "engine/tuning.h"
#include "lib/log.h"
#include "lib/message.h"
#include "vm/memory.h"
#include "vm/passt.h"
#include "vm/scratch.h"

/* With an accelerator that has not proved itself. Real hardware starts a kernel in a fraction of
 * the first, and a distribution with its own boot loader and cloud-init in half of the second. */
#define TRIAL_DEADLINE_US      (10 * 1000 * 1000)
#define TRIAL_DISK_DEADLINE_US (90 * 1000 * 1000)

void launch_init(struct launch *l, const struct request *request, struct resources *resources)
{
	enum accel accel = request->accel;

	*l = (struct launch){.request = request,
		.resources = resources,
		.shares = request->shares,
		.passt = GATEWAY_HELPER_INIT};
	if (accel == ACCEL_AUTO)
		accel = accel_choose(request->settings->qemu, &l->trial);
	shape_from_request(&l->shape, request, accel);
}

static void launch_discard_template(struct launch *l)
{
	autofree char *directory = local_templates();

	l->cloning = false;
	l->resources->memory_fd = base_close(l->resources->memory_fd);
	l->resources->template = template_close(l->resources->template);
	if (broker_has_templates(l->resources->broker))
		broker_tell_template_failed(l->resources->broker, l->key);
	else if (directory)
		template_remove(directory, l->key, NULL);
}

/* The copy for a VM that is to give memory back. */
static int launch_own_memory(struct launch *l, struct error *err)
{
	if (!l->shape.own_memory)
		return 0;
	l->resources->memory_fd = memory_copy(l->resources->template->memory_fd, err);
	return MIN_OF(l->resources->memory_fd, 0);
}

/* The node's, or the user's own. */
static int launch_get_template(struct launch *l, struct error *err)
{
	autofree char *directory = local_templates();
	struct resources *r = l->resources;

	if (broker_has_templates(r->broker))
		return broker_open_template(
			r->broker, l->key, l->shape.memory_mib, &r->template, err);
	return directory ? template_open(directory, l->key, &r->template, err)
			 : fail(err, -ENOMEM, "out of memory");
}

static int launch_open_template(struct launch *l, struct error *err)
{
	int r = shape_key(&l->shape, l->resources, l->request->settings, l->key, err);

	if (r == 0)
		r = launch_get_template(l, err);
	if (r == 0)
		r = launch_own_memory(l, err);
	l->cloning = r == 0;
	return r;
}

static int launch_miss_template(const struct launch *l, struct error *err)
{
	const struct shape *shape = &l->shape;

	return fail(err, -ENOENT,
		"there is no template of '%s' for such a VM; make one with `wnodes image warm "
		"--cpus %llu --memory %lluM --network %s --shares %zu%s %s`, or start with --start "
		"auto",
		l->request->image, (unsigned long long)shape->cpus,
		(unsigned long long)shape->memory_mib,
		shape->network == VM_NETWORK_NONE ? "none" : "user", shape->slots,
		shape->scratch ? " --scratch" : "", l->request->image);
}

/* Clones have their memory of the template's. */
static int launch_refuse_clone(const struct launch *l, struct error *err)
{
	if (l->request->start != REQUEST_START_CLONE)
		return 0;
	return fail(err, -EINVAL,
		"a VM with huge pages is not cloned ([vm] huge_pages = yes); use --start boot");
}

int launch_find_template(struct launch *l, struct error *err)
{
	bool insists = l->request->start == REQUEST_START_CLONE;
	int r;

	/* A probe looks at what an image does when it boots. Templates have no volumes, and what
	 * one has written is in an overlay. */
	if (l->request->start == REQUEST_START_BOOT || l->request->probe ||
		l->request->volumes.count > 0 || l->request->root_lvm)
		return 0;
	if (tuning_forbids_clones(l->request->settings))
		return launch_refuse_clone(l, err);
	r = share_choice_may_clone(&l->request->shares, l->resources->manifest, err);
	if (r < 0)
		return insists ? r : 0;
	/* KVM that no guest has run with yet is tried with a boot. */
	r = l->trial ? -ENOENT : launch_open_template(l, err);
	if (r == 0)
		return 0;
	if (r == -ENOENT)
		return insists ? launch_miss_template(l, err) : 0;
	if (insists)
		return r;
	log_warning("the template cannot be used: %s; booting instead", err->text);
	*err = (struct error){0};
	launch_discard_template(l);
	return 0;
}

static int on_map_groups(void *userdata, pid_t pid)
{
	return broker_map_groups(userdata, pid);
}

/* What the daemon says goes into the options of a mount. */
static int take_server(json_t *answer, struct gateway_server *ret, struct error *err)
{
	json_t *offer = json_object_get(answer, "export");
	const char *address = json_string_value(json_object_get(offer, "address"));
	const char *path = json_string_value(json_object_get(offer, "path"));
	struct in_addr unused;

	if (!address || inet_pton(AF_INET, address, &unused) != 1 || !path || path[0] != '/' ||
		strlen(path) >= sizeof(ret->path))
		return fail(err, -EPROTO, "the node's daemon did not say where it is served");
	snprintf(ret->address, sizeof(ret->address), "%s", address);
	snprintf(ret->path, sizeof(ret->path), "%s", path);
	return 0;
}

static int on_serve(void *userdata, int directory_fd, bool read_only, struct gateway_server *ret,
	struct error *err)
{
	json_t *answer = NULL;
	int r = broker_export(userdata, directory_fd, read_only, &answer, err);

	if (r == 0)
		r = take_server(answer, ret, err);
	json_decref(answer);
	return r;
}

static struct gateway_host launch_host(const struct launch *l, sd_event *event)
{
	return (struct gateway_host){
		.event = event,
		.has_network = l->request->network != VM_NETWORK_NONE,
		.virtiofsd = l->request->settings->virtiofsd,
		.map_groups = l->resources->broker ? on_map_groups : NULL,
		.serve = l->request->network == VM_NETWORK_TAP ? on_serve : NULL,
		.userdata = l->resources->broker,
	};
}

int launch_start_gateways(struct launch *l, sd_event *event, struct error *err)
{
	const struct gateway_host host = launch_host(l, event);

	launch_stop_gateways(l);
	l->shares = l->request->shares;
	return share_choice_start(&l->shares, l->resources->manifest, l->cloning, &host, err);
}

int launch_restart_gateway(
	struct launch *l, sd_event *event, struct qmp *qmp, size_t i, struct error *err)
{
	struct gateway_host host = launch_host(l, event);
	struct vm_share *share = &l->shares.items[i];

	host.qmp = qmp;
	return share->gateway->restart ? share->gateway->restart(&host, share,
						 gateway_index(l->shares.items, i), err)
				       : fail(err, -EOPNOTSUPP, "it cannot be started again");
}

int launch_check_agent(const struct launch *l, uint32_t features, struct error *err)
{
	for (size_t i = 0; i < l->shares.count; i++) {
		const struct gateway *gateway = l->shares.items[i].gateway;

		if ((features & gateway->agent_feature) != gateway->agent_feature)
			return fail(err, -EOPNOTSUPP,
				"the image's agent is too old for the gateway %s; build or import "
				"the image again, or use another gateway",
				gateway->name);
	}
	return 0;
}

void launch_stop_gateways(struct launch *l)
{
	share_choice_stop(&l->shares);
}

int launch_start_network(struct launch *l, struct error *err)
{
	autofree char *program = NULL;

	launch_stop_network(l);
	if (l->request->network != VM_NETWORK_USER ||
		!streq(l->request->settings->user_network, "passt"))
		return 0;
	program = passt_find(err);
	return program ? passt_start(program, &l->passt, err) : err->code;
}

void launch_stop_network(struct launch *l)
{
	gateway_helper_stop(&l->passt);
}

enum phase launch_phase(const struct launch *l)
{
	return l->cloning ? PHASE_CLONE : PHASE_BOOT;
}

uint64_t launch_boot_deadline_us(
	const struct settings *settings, const struct manifest *manifest, bool trial)
{
	if (!trial)
		return settings->boot;
	return manifest->boot == IMAGE_BOOT_DISK ? TRIAL_DISK_DEADLINE_US : TRIAL_DEADLINE_US;
}

uint64_t launch_deadline_us(const struct launch *l)
{
	const struct settings *settings = l->request->settings;

	return l->cloning ? settings->clone
			  : launch_boot_deadline_us(settings, l->resources->manifest, l->trial);
}

static void launch_fill_clone(const struct launch *l, struct vm_spec *ret)
{
	const struct template *t = l->resources->template;

	ret->memory_private = !l->shape.own_memory;
	ret->memory_fd = l->shape.own_memory ? l->resources->memory_fd : t->memory_fd;
	ret->state_fd = t->state_fd;
	ret->template_overlay_fd = t->overlay_fd;
}

/* Of two limits; 0 is none. */
static uint64_t least(uint64_t a, uint64_t b)
{
	return a == 0 || b == 0 ? MAX_OF(a, b) : MIN_OF(a, b);
}

/* What is asked for, within what the site and the node's daemon allow. */
static void launch_fill_limits(const struct launch *l, struct vm_spec *ret)
{
	const struct settings *s = l->request->settings;

	ret->disk_iops = least(l->request->disk_iops, s->node_disk_iops);
	ret->disk_iops = least(ret->disk_iops, l->resources->disk_iops);
	ret->disk_rate = least(l->request->disk_rate, s->node_disk_rate);
	ret->disk_rate = least(ret->disk_rate, l->resources->disk_rate);
}

/* A template's card has one queue, of which nobody knew whether vhost-net would serve it. Of what a
 * QEMU before has had only the first queue is as it was: others are off if its guest had not
 * switched them on, and vhost-net is that QEMU's. In emulation it would not be what takes time. */
static void launch_choose_queues(struct launch *l)
{
	struct vm_tap *tap = &l->resources->tap;

	if (l->cloning || l->tap_used)
		vm_tap_keep_first(tap);
	if (l->shape.accel != ACCEL_KVM)
		vm_tap_drop_vhost(tap);
	l->tap_used = true;
}

void launch_fill_spec(struct launch *l, const char *name, const char *mac, struct vm_spec *ret)
{
	const struct request *request = l->request;

	shape_fill_spec(&l->shape, l->resources, request->settings,
		l->cloning ? VM_START_CLONE : VM_START_BOOT, ret);
	ret->name = name;
	ret->mac = mac;
	ret->network = l->passt.pidfd >= 0 ? VM_NETWORK_STREAM : request->network;
	launch_choose_queues(l);
	ret->tap = l->resources->tap;
	ret->stream_fd = l->passt.fd;
	ret->scratch_fd = l->resources->scratch_fd;
	ret->scratch_is_volume = scratch_is_volume(ret->scratch_fd);
	/* A volume is as large as LVM makes it: a clone's disk gets the size that is told. */
	ret->scratch_bytes =
		ret->scratch_is_volume ? scratch_size(ret->scratch_fd) : request->scratch_bytes;
	ret->root_is_volume = scratch_is_volume(ret->disk_fd);
	if (ret->root_is_volume)
		ret->root_bytes = l->resources->manifest->disk_size;
	launch_fill_limits(l, ret);
	ret->share_count = l->shares.count;
	memcpy(ret->shares, l->shares.items, sizeof(l->shares.items));
	if (l->cloning)
		launch_fill_clone(l, ret);
	tuning_fill_spec(request->settings, ret);
	ret->memory_huge &= !l->without_huge;
	l->huge = ret->memory_huge;
}

void launch_succeeded(struct launch *l, uint64_t took_us)
{
	struct broker *broker = l->resources->broker;

	broker_tell_started(broker);
	if (l->cloning && broker_has_templates(broker))
		broker_tell_used(broker, l->key, took_us);
	else if (l->cloning)
		template_record_use(l->resources->template, took_us);
	/* An image that starts with neither says nothing about KVM: only what came up does. */
	if (l->trial || l->trial_failed)
		accel_learn(l->request->settings->qemu, l->trial);
	l->trial = l->trial_failed = false;
}

/* They may have gone to others since they were counted. */
static bool launch_may_do_without_huge_pages(const struct launch *l)
{
	return l->huge && !l->without_huge && streq(l->request->settings->huge_pages, "auto");
}

/* A QEMU that cannot use it ends (7.2 does). */
static bool launch_may_do_without_vhost(const struct launch *l)
{
	return l->resources->tap.vhost_count > 0;
}

bool launch_has_next(const struct launch *l)
{
	return (l->cloning || l->trial || launch_may_do_without_vhost(l) ||
		       launch_may_do_without_huge_pages(l)) &&
	       !l->stopped;
}

void launch_stop(struct launch *l)
{
	l->stopped = true;
}

bool launch_try_next(struct launch *l, const char *reason, struct error *err)
{
	if (l->cloning) {
		launch_discard_template(l);
		if (l->request->start == REQUEST_START_CLONE)
			return false;
		log_warning("the VM did not start from its template: %s; the template is thrown "
			    "away, booting instead",
			reason);
	} else if (launch_may_do_without_vhost(
			   l)) { /* before KVM is blamed, and that kept in mind */
		log_warning("the VM did not start with vhost-net: %s; starting without", reason);
		vm_tap_drop_vhost(&l->resources->tap);
	} else if (l->trial) {
		log_warning("/dev/kvm opens, but the VM did not start with it; using software "
			    "emulation, which is slow (said once; --accel kvm insists)");
		l->trial = false;
		l->trial_failed = true;
		l->shape.accel = ACCEL_TCG;
	} else if (launch_may_do_without_huge_pages(l)) {
		log_warning("the VM did not start with huge pages: %s; starting without", reason);
		l->without_huge = true;
	} else {
		return false;
	}
	return local_renew(l->resources, err) == 0;
}

bool launch_wants_template(const struct launch *l, uint32_t agent_features)
{
	const struct request *request = l->request;
	autofree char *directory = local_templates();

	if (request->start != REQUEST_START_AUTO || request->probe || l->cloning ||
		request->volumes.count > 0 || request->root_lvm ||
		!request->settings->template_automatic ||
		tuning_forbids_clones(request->settings) ||
		!(agent_features & AGENT_FEATURE_TEMPLATE))
		return false;
	/* The node's daemon makes them apart from the job, and knows which it cannot make. */
	if (broker_has_templates(l->resources->broker))
		return true;
	/* The key is not known after a trial of KVM: the maker looks itself. */
	return !request->alone && directory &&
	       !(l->key[0] && template_failed_recently(directory, l->key, NULL));
}
