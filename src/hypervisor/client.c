#include "hypervisor/client_private.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "engine/packet.h"
#include "hypervisor/admission.h"
#include "hypervisor/borrow.h"
#include "hypervisor/cloud.h"
#include "hypervisor/groups.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/liaison.h"
#include "hypervisor/node.h"
#include "lib/clock.h"
#include "lib/log.h"

/* For who has connected and asked for nothing. */
#define IDLE_US (60 * UINT64_C(1000000))

/* For how long a daemon that was started anew believes in VMs that it does not know. Their programs
 * try every second. */
#define HOLD_US (60 * UINT64_C(1000000))

/* How soon one who has asked too much is heard again. */
#define PAUSE_US 50000

/* A client that does not read its answers is ended. */
void client_answer(struct client *c, json_t *answer, const int *fds, size_t count)
{
	int r = answer ? packet_send(c->fd, answer, fds, count) : -ENOMEM;

	json_decref(answer);
	if (r < 0)
		shutdown(c->fd, SHUT_RDWR); /* its end is heard like any other */
}

void client_refuse(struct client *c, const char *why)
{
	client_answer(c, json_pack("{s:s}", "error", why), NULL, 0);
}

/* Takes back all but the connection. */
static void client_take_back(struct client *c)
{
	struct slot *slot = TAKE_PTR(c->slot);

	if (c->state == CLIENT_LENT && !c->hypervisor->ending) {
		names_remove(c->hypervisor->names, c->tally.record_id);
		liaison_take_back(c->hypervisor->liaison, c->tally.record_id);
	}
	client_end_exports(c);
	tally_end(&c->tally, c, c->hypervisor->ending);
	loan_card_close(&c->card, c->hypervisor);
	borrow_cancel(c->borrow);
	shelf_forget(c->hypervisor->shelf, c);
	volumes_cancel(c->hypervisor->volumes, c);
	imagevolumes_cancel(c->hypervisor->imagevolumes, c);
	loan_disks_close(&c->disks, c->hypervisor);
	c->state = CLIENT_IDLE;
	c->digest[0] = '\0';
	c->started = false;
	c->key_count = 0;
	c->asking_template = c->asking_volume = c->asking_export = false;
	if (slot && !c->hypervisor->ending)
		slots_release(c->hypervisor->slots, slot);
}

void client_end(struct client *c)
{
	client_take_back(c);
	allowances_disconnect(&c->hypervisor->allowances, c->allowance);
	c->gone(c, c->userdata);
	sd_event_source_disable_unref(c->source);
	sd_event_source_disable_unref(c->pause);
	base_close(c->fd);
	free(c);
}

const char *client_digest(const struct client *c)
{
	return c->digest;
}

uid_t client_uid(const struct client *c)
{
	return c->peer.uid;
}

static void client_fail(struct client *c, const char *why)
{
	client_take_back(c);
	client_refuse(c, why);
}

void client_add_descriptor(struct client_descriptors *d, const char *name, int fd)
{
	if (fd < 0)
		return;
	json_array_append_new(d->names, json_string(name));
	d->fds[d->count++] = fd;
}

static json_t *manifest_to_json(const struct manifest *m)
{
	autofree char *text = m ? manifest_format(m) : NULL;

	return text ? json_loads(text, 0, NULL) : NULL;
}

static json_t *client_take_lease(const struct client *c)
{
	size_t n = strcspn(c->peer.job, ".");
	char job[PEER_JOB_MAX + 8] = "";
	const struct block_use use = {
		.vm = c->tally.record_id, .keeper = c->peer.pid, .uid = c->peer.uid, .job = job};

	if (n > 0)
		snprintf(job, sizeof(job), "slurm.%.*s", (int)n, c->peer.job);
	return liaison_lend(c->hypervisor->liaison, &use);
}

/* A card on the network that was asked for. */
static int client_lend_card(struct client *c, const json_t *lease, struct error *err)
{
	const struct tap_wish wish = {.network = c->wanted.network,
		.record_id = c->tally.record_id,
		.uid = c->peer.uid,
		.lease = lease,
		.cpus = c->wanted.cpus,
		.queues = c->wanted.queues};
	int r = loan_card_open(&c->card, c->hypervisor, &wish, err);

	c->tally.tap = c->card.tap;
	if (r == 0 && c->card.tap && lease)
		tap_tell_name(c->card.tap, lease, c->tally.record_id, c->hypervisor->names);
	return r;
}

static void client_add_card(const struct client *c, struct client_descriptors *d)
{
	const struct vm_tap tap = loan_card_tap(&c->card);

	for (size_t i = 0; i < tap.count; i++)
		client_add_descriptor(d, "tap", tap.fds[i]);
	for (size_t i = 0; i < tap.vhost_count; i++)
		client_add_descriptor(d, "vhost", tap.vhost_fds[i]);
}

/* All is there: `image` is NULL for one of the client's own. */
static void client_lend(struct client *c, const struct loan_image *image)
{
	struct client_descriptors d = {.names = NULL};
	/* Of an image that is not ours the size is not known. */
	uint64_t disk = image ? image->manifest->disk_size : c->hypervisor->settings.node_vm_disk;
	struct error err = {0};
	int r = loan_disks_make(&c->disks, c->hypervisor, c->peer.uid, c->peer.gid,
		disk ? disk : (UINT64_C(1) << 43), c->wanted.scratch_bytes, &err);
	json_t *answer, *lease = NULL;

	if (r == 0 && tally_lend(&c->tally, c->hypervisor->ledger) < 0)
		r = fail(&err, -EIO, "the node has no random numbers");
	if (r == 0) {
		c->state = CLIENT_LENT; /* what is lent now is taken back */
		lease = client_take_lease(c);
		r = client_lend_card(c, lease, &err);
	}
	if (r < 0) {
		json_decref(lease);
		client_fail(c, err.text);
		return;
	}
	d.names = json_array();
	if (image) {
		client_add_descriptor(&d, "disk", c->disks.root ? -1 : image->disk_fd);
		client_add_descriptor(&d, "kernel", image->kernel_fd);
		client_add_descriptor(&d, "initrd", image->initrd_fd);
		client_add_descriptor(&d, "seed", image->seed_fd);
	}
	client_add_descriptor(&d, "root", volume_fd(c->disks.root));
	client_add_descriptor(&d, "overlay", c->disks.overlay.fd);
	client_add_descriptor(&d, "scratch", loan_disks_scratch_fd(&c->disks));
	client_add_card(c, &d);
	answer = json_pack("{s:o, s:s, s:s, s:s*, s:s*, s:o*, s:o*, s:{s:I, s:I}, s:o*}",
		"descriptors", d.names, "digest", c->digest, "record_id", c->tally.record_id,
		"name", image ? image->name : NULL, "tag", image ? image->tag : NULL, "manifest",
		image ? manifest_to_json(image->manifest) : NULL, "lease", lease, "limits",
		"disk_iops", (json_int_t)c->hypervisor->settings.node_disk_iops, "disk_rate",
		(json_int_t)c->hypervisor->settings.node_disk_rate, "network",
		loan_card_to_json(&c->card));
	client_answer(c, answer, d.fds, d.count);
	loan_card_sent(&c->card);
}

static void client_tell_place(struct client *c)
{
	client_answer(c,
		json_pack("{s:{s:I, s:s}}", "waiting", "place", (json_int_t)c->slot->place,
			"reason", c->slot->reason),
		NULL, 0);
}

/* Its image is known: now it needs a slot. Returns true if it has one. */
static bool client_ask_slot(struct client *c)
{
	const struct slot wanted = {
		.uid = c->peer.uid,
		.cpus = c->wanted.cpus,
		.memory_mib = c->wanted.memory_mib,
		.userdata = c,
	};
	struct slot copy = wanted;
	struct error err = {0};
	int r;

	memcpy(copy.image, c->digest, sizeof(copy.image));
	r = slots_ask(c->hypervisor->slots, &copy, !c->wanted.no_wait, &c->slot, &err);
	if (r < 0) {
		c->slot = NULL;
		client_fail(c, err.text);
	} else if (r == 0) {
		c->state = CLIENT_WAITING;
		client_tell_place(c);
	}
	return r > 0;
}

static void client_borrow(struct client *c, enum client_state state);
static void refuse_drained(struct client *c, const char *what, const char *reason);

/* Another node may have room. With `auto`, a file does. */
static void client_miss_volume(struct client *c, const char *why)
{
	if (streq(c->hypervisor->settings.node_scratch, "lvm")) {
		client_take_back(c);
		refuse_drained(c, "the node has no volume for the scratch disk", why);
		return;
	}
	log_warning("a VM of uid %u has a file as its scratch disk: %s", (unsigned int)c->peer.uid,
		why);
	c->disks.without_volume = true;
}

/* An image of the user's own, of which nobody wants to know anything. */
static bool client_has_nothing_to_borrow(const struct client *c)
{
	return c->own_image && !admission_has_site(c->hypervisor->admission);
}

static void on_volume(struct volume *volume, const char *why, void *userdata)
{
	struct client *c = userdata;

	c->disks.volume = volume;
	if (!volume)
		client_miss_volume(c, why);
	if (c->state != CLIENT_MAKING)
		return;
	/* What the image's parts were opened for is over. */
	if (client_has_nothing_to_borrow(c))
		client_lend(c, NULL);
	else
		client_borrow(c, CLIENT_OPENING);
}

static void on_root(struct volume *volume, const char *why, void *userdata)
{
	struct client *c = userdata;

	c->disks.root = volume;
	if (volume) {
		client_borrow(c, CLIENT_OPENING);
		return;
	}
	client_take_back(c);
	refuse_drained(c, "the node has no volume for the root disk", why);
}

static void on_borrow_wait(const char *reason, void *userdata)
{
	client_answer(userdata, json_pack("{s:{s:s}}", "waiting", "reason", reason), NULL, 0);
}

/* The image of whose disk the root disk is to be a snapshot may have to be written to a volume
 * first. Returns as volumes_take(). */
static int client_take_root(struct client *c)
{
	struct imagevolumes *images = c->hypervisor->imagevolumes;

	if (!c->wanted.root_lvm || c->disks.root)
		return 1;
	if (imagevolumes_must_write(images, c->digest))
		on_borrow_wait("it is written to a volume of the node", c);
	return imagevolumes_take(images, c->digest, on_root, c, &c->disks.root);
}

/* A slot is there, and the image: `image` is NULL for one of the client's own. */
static void client_proceed(struct client *c, const struct loan_image *image)
{
	int r = 1;

	if (loan_disks_want_volume(&c->disks, c->hypervisor, c->wanted.scratch_bytes))
		r = volumes_take(c->hypervisor->volumes, c->wanted.scratch_bytes, on_volume, c,
			&c->disks.volume);
	if (r > 0)
		r = client_take_root(c);
	if (r > 0)
		client_lend(c, image);
	else if (r == 0)
		c->state = CLIENT_MAKING;
	else
		client_fail(c, "the node's daemon is out of memory");
}

static void on_borrowed(
	const struct loan_image *image, const char *why, bool node_failed, void *userdata)
{
	struct client *c = userdata;

	if (why) {
		client_take_back(c);
		client_answer(c,
			json_pack("{s:s, s:o*}", "error", why, "drained",
				node_failed ? json_true() : NULL),
			NULL, 0);
		return;
	}
	if (image)
		memcpy(c->digest, image->digest, sizeof(c->digest));
	if (c->state == CLIENT_OPENING || client_ask_slot(c))
		client_proceed(c, image);
}

/* An image that was decided upon is so again when it is this VM's turn, which may be much later. */
static void client_borrow(struct client *c, enum client_state state)
{
	const struct borrow_events events = {on_borrow_wait, on_borrowed, c};
	bool has_site = admission_has_site(c->hypervisor->admission);
	const struct borrow_wish wish = {
		.reference = c->wanted.image,
		.digest = c->own_image || (state == CLIENT_OPENING && has_site) ? c->digest : "",
		.own = c->own_image,
		.no_wait = c->wanted.no_wait,
		.uid = c->peer.uid,
	};

	c->state = state;
	if (borrow_start(c->hypervisor, &wish, &events, &c->borrow) < 0)
		client_fail(c, "the node's daemon is out of memory");
}

void client_on_granted(struct slot *slot)
{
	struct client *c = slot->userdata;

	c->slot = slot;
	if (client_has_nothing_to_borrow(c))
		client_proceed(c, NULL);
	else
		client_borrow(c, CLIENT_OPENING);
}

void client_on_moved(struct slot *slot)
{
	struct client *c = slot->userdata;

	c->slot = slot;
	client_tell_place(c);
}

/* Others may take the VM. */
static void refuse_drained(struct client *c, const char *what, const char *reason)
{
	autofree char *why = NULL;

	if (asprintf(&why, "%s: %s", what, reason) < 0)
		why = NULL;
	client_answer(c, json_pack("{s:s*, s:b}", "error", why, "drained", true), NULL, 0);
}

/* Can the root disk be a volume? */
static bool client_may_have_root(struct client *c, const struct call *call)
{
	if (!call->root_lvm)
		return true;
	if (!c->hypervisor->imagevolumes)
		refuse_drained(c, "the node lends no root disk on a volume",
			"it has no [node] volume_group; use --root overlay");
	else if (call->own)
		client_refuse(c,
			"a root disk on a volume is of an image of the node, and this one is "
			"of your own store; use --root overlay");
	return c->hypervisor->imagevolumes && !call->own;
}

static void on_open(struct client *c, const struct call *call)
{
	const struct hypervisor *h = c->hypervisor;
	uint64_t most = h->settings.node_vm_disk;
	struct error err = {0};

	if (c->state != CLIENT_IDLE) {
		client_refuse(c, "this connection has its VM already");
	} else if (drain_reason(h->drain)) {
		refuse_drained(c, "the node is drained", drain_reason(h->drain));
	} else if (liaison_refusal(h->liaison)) {
		refuse_drained(c, "the node takes no VMs", liaison_refusal(h->liaison));
	} else if (most > 0 && call->scratch_bytes > most) {
		client_refuse(c, "the scratch disk is larger than this node allows; ask for less");
	} else if (call->scratch_bytes > 0 && !h->volumes &&
		   streq(h->settings.node_scratch, "lvm")) {
		refuse_drained(c, "the node lends no scratch disk",
			"[node] scratch is lvm, and there is no volume_group");
	} else if (loan_card_check(&c->card, h, call, c->peer.uid, &err) < 0) {
		client_refuse(c, err.text);
	} else if (client_may_have_root(c, call)) {
		c->wanted = *call;
		c->own_image = call->own;
		memcpy(c->image, call->image, sizeof(c->image));
		memcpy(c->digest, call->digest, sizeof(c->digest));
		if (!client_has_nothing_to_borrow(c))
			client_borrow(c, CLIENT_LOOKING);
		else if (client_ask_slot(c))
			client_proceed(c, NULL);
	}
}

static struct witness client_witness(const struct client *c)
{
	return (struct witness){.peer = &c->peer,
		.lent = &c->wanted,
		.own_image = c->own_image,
		.digest = c->digest};
}

static void client_hold_record(struct client *c, const struct call *call)
{
	struct witness w = client_witness(c);

	if (!call->record_id[0] || tally_lend(&c->tally, c->hypervisor->ledger) < 0) {
		client_answer(c, json_object(), NULL, 0);
		return;
	}
	tally_hold(&c->tally, call->record_id, &w, (pid_t)call->pid);
	c->tally.tap = c->card.tap = taps_claim(c->hypervisor->taps, c->tally.record_id);
	names_claim(c->hypervisor->names, c->tally.record_id);
	exports_claim(c->hypervisor->exports, c->tally.record_id);
	liaison_claim(c->hypervisor->liaison, c->tally.record_id);
	client_answer(c, json_pack("{s:s}", "record_id", c->tally.record_id), NULL, 0);
}

/* Who was there before us. */
static void on_hold(struct client *c, const struct call *call)
{
	struct slot wanted = {.uid = c->peer.uid,
		.cpus = call->cpus,
		.memory_mib = call->memory_mib,
		.userdata = c};

	if (c->state != CLIENT_IDLE || clock_now_us() - c->hypervisor->started_us > HOLD_US ||
		!peer_owns_process(&c->peer, (pid_t)call->pid)) {
		client_refuse(c, "there is no such VM of yours");
		return;
	}
	memcpy(wanted.image, call->digest, sizeof(wanted.image));
	if (slots_hold(c->hypervisor->slots, &wanted, &c->slot) < 0) {
		c->slot = NULL;
		client_refuse(c, "such a VM was not lent anything");
		return;
	}
	c->wanted = *call;
	c->own_image = call->own;
	memcpy(c->image, call->image, sizeof(c->image));
	memcpy(c->digest, call->digest, sizeof(c->digest));
	c->disks.volume = volumes_claim(c->hypervisor->volumes, call->given_fds[0]);
	c->disks.root = volumes_claim(c->hypervisor->volumes, call->given_fds[1]);
	c->state = CLIENT_LENT;
	c->started = true; /* so soon it comes back only if it has */
	client_hold_record(c, call);
}

static void on_volume_offered(const struct volume_offer *offer, const char *why, void *userdata)
{
	struct client *c = userdata;

	c->asking_volume = false;
	if (why)
		client_refuse(c, why);
	else
		client_answer(c, volume_offer_to_json(offer), &offer->fd, offer->fd >= 0);
}

static void on_site_volume(struct client *c, const struct call *call)
{
	const struct volume_wish wish = {.volume = call->volume,
		.vm = c->tally.record_id,
		.uid = c->peer.uid,
		.read_only = call->read_only};
	struct error err = {0};

	if (c->state != CLIENT_LENT || !c->tally.ledger || c->asking_volume) {
		client_refuse(c, "a volume is attached to a VM alone, one after the other");
		return;
	}
	c->asking_volume = true;
	if (cloud_attach(c->hypervisor->cloud, &wish, on_volume_offered, c, &err) < 0) {
		c->asking_volume = false;
		client_refuse(c, err.text);
	}
}

/* The VM's start does not wait for an answer. */
static void on_vm(struct client *c, const struct call *call)
{
	struct witness w = client_witness(c);

	if (c->state != CLIENT_LENT || !c->tally.ledger ||
		!peer_owns_process(&c->peer, (pid_t)call->pid))
		return;
	tally_start(&c->tally, &w, (pid_t)call->pid);
	memcpy(c->wanted.name, call->name, sizeof(c->wanted.name));
	liaison_note_change(c->hypervisor->liaison);
}

static void on_recorded(const char *err, void *userdata)
{
	struct client *c = userdata;

	if (err)
		client_refuse(c, err);
	else
		client_answer(c, json_object(), NULL, 0);
}

static void on_record(struct client *c, const struct call *call)
{
	struct error err = {0};

	if (tally_record(&c->tally, call->record, on_recorded, c, &err) < 0)
		client_refuse(c, err.text);
}

static void on_map_groups(struct client *c, const struct call *call)
{
	struct error err = {0};

	if (c->state != CLIENT_LENT)
		client_refuse(c, "groups are mapped for a VM alone");
	else if (groups_map(c->fd, &c->peer, (pid_t)call->pid, &err) < 0)
		client_refuse(c, err.text);
	else
		client_answer(c, json_object(), NULL, 0);
}

static void on_started(struct client *c, const struct call *call)
{
	if (c->state == CLIENT_LENT) {
		drain_note_success(c->hypervisor->drain);
		c->started = true;
		liaison_note_change(c->hypervisor->liaison);
	}
	tally_look(&c->tally);
	client_answer(c, json_object(), NULL, 0);
}

/* What a user's own image does says nothing about the node. A connection counts once. */
static void on_failed(struct client *c, const struct call *call)
{
	if (c->state == CLIENT_LENT && !c->own_image && !c->counted_failure) {
		c->counted_failure = true;
		drain_note_failure(c->hypervisor->drain, c->peer.uid, c->digest, call->reason);
	}
	client_answer(c, json_object(), NULL, 0);
}

static void on_node(struct client *c, const struct call *call)
{
	client_answer(
		c, json_pack("{s:o*}", "node", node_to_json(c->hypervisor, c->peer.uid)), NULL, 0);
}

static void client_administer(struct client *c, const char *reason)
{
	struct drain *drain = c->hypervisor->drain;
	struct error err = {0};
	int r;

	if (!hypervisor_is_administrator(c->hypervisor, c->peer.uid)) {
		client_refuse(c, "only root, and [node] administrators, may do this");
		return;
	}
	r = reason ? drain_set(drain, reason, c->peer.uid, &err) : drain_clear(drain, &err);
	if (r < 0)
		client_refuse(c, err.text);
	else
		client_answer(c, json_object(), NULL, 0);
}

static void on_drain(struct client *c, const struct call *call)
{
	client_administer(c, call->reason);
}

static void on_resume(struct client *c, const struct call *call)
{
	client_administer(c, NULL);
}

static void (*const handlers[CALL_OPS])(struct client *c, const struct call *call) = {
	[CALL_OPEN] = on_open,
	[CALL_HOLD] = on_hold,
	[CALL_TEMPLATE] = client_on_template,
	[CALL_TEMPLATE_FAILED] = client_on_template_failed,
	[CALL_USED] = client_on_used,
	[CALL_WISH] = client_on_wish,
	[CALL_STARTED] = on_started,
	[CALL_FAILED] = on_failed,
	[CALL_NODE] = on_node,
	[CALL_DRAIN] = on_drain,
	[CALL_RESUME] = on_resume,
	[CALL_VM] = on_vm,
	[CALL_RECORD] = on_record,
	[CALL_MAP_GROUPS] = on_map_groups,
	[CALL_VOLUME] = on_site_volume,
	[CALL_EXPORT] = client_on_export,
};

/* The only descriptors that somebody may give us are those of volumes they have, and of a
 * directory. */
static void client_handle(struct client *c, json_t *json, const int *fds, size_t count)
{
	struct error err = {0};
	struct call call;

	if (call_parse(json, &call, &err) < 0) {
		client_refuse(c, err.text);
		return;
	}
	for (size_t i = 0; i < MIN_OF(count, (size_t)CALL_VOLUMES_MAX); i++)
		call.given_fds[i] = fds[i];
	handlers[call.op](c, &call);
}

static int on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct client *c = userdata;
	int fds[PACKET_FDS_MAX], r;
	json_t *json = NULL;
	size_t count = 0;

	c->active_us = clock_now_us();
	if (!allowance_take_request(&c->hypervisor->allowances, c->allowance, c->active_us) &&
		!(events & (EPOLLHUP | EPOLLERR))) {
		sd_event_source_set_enabled(c->source, SD_EVENT_OFF);
		sd_event_source_set_time_relative(c->pause, PAUSE_US);
		sd_event_source_set_enabled(c->pause, SD_EVENT_ONESHOT);
		return 0;
	}
	r = packet_recv(fd, &json, fds, &count);
	if (r == -EAGAIN || r == -EINTR)
		return 0;
	if (r <= 0) {
		client_end(c);
		return 0;
	}
	client_handle(c, json, fds, count);
	while (count > 0)
		close(fds[--count]);
	json_decref(json);
	return 0;
}

static int on_pause_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct client *c = userdata;

	return sd_event_source_set_enabled(c->source, SD_EVENT_ON);
}

struct client *client_new(struct hypervisor *h, int fd, const struct peer *peer,
	struct allowance *allowance, void (*gone)(struct client *c, void *userdata), void *userdata)
{
	autoclose int own_fd = fd;
	autofree struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct client){.hypervisor = h,
		.fd = fd,
		.peer = *peer,
		.allowance = allowance,
		.gone = gone,
		.userdata = userdata,
		.disks = LOAN_DISKS_INIT,
		.active_us = clock_now_us()};
	if (sd_event_add_io(h->event, &c->source, fd, EPOLLIN, on_packet, c) < 0)
		return NULL;
	if (sd_event_add_time_relative(
		    h->event, &c->pause, CLOCK_MONOTONIC, 0, 0, on_pause_end, c) < 0) {
		sd_event_source_disable_unref(c->source);
		return NULL;
	}
	sd_event_source_set_enabled(c->pause, SD_EVENT_OFF);
	TAKE_FD(own_fd);
	return TAKE_PTR(c);
}

void client_sweep(struct client *c, uint64_t now_us)
{
	if (c->state == CLIENT_IDLE && now_us - c->active_us > IDLE_US) {
		client_end(c);
		return;
	}
	tally_look(&c->tally);
	if (loan_disks_trim(&c->disks))
		log_warning("uid %u wrote more to a VM's disk than it has; it was cut off",
			(unsigned int)c->peer.uid);
}
