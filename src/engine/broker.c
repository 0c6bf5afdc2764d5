#include "engine/broker.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "engine/identity.h"
#include "engine/packet.h"
#include "engine/spool.h"
#include "lib/clock.h"
#include "lib/deadline.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/uuid.h"
#include "vm/memory.h"
#include "vm/overlay.h"
#include "vm/scratch.h"

/* A daemon that is being started anew is waited for; one that is asked in the midst of a start has
 * to read a template's memory from the disk at most. */
#define BROKER_RETRY_US    100000
#define BROKER_PATIENCE_MS 10000
#define BROKER_ANSWER_MS   10000
#define BROKER_REJOIN_US   1000000

/* How often who has no terminal is told how far an image is. */
#define BROKER_TELL_US (UINT64_C(30) * 1000000)

#define MIB UINT64_C(1048576)

struct broker {
	sd_event *event;
	sd_event_source *source, *timer;
	const struct request *request;
	struct resources *resources;
	resources_fn done;
	void *userdata;
	struct error *err;
	const char *path;
	bool required; /* else we can do without */
	bool own_image;
	bool lent;
	bool opened; /* but for volumes */
	bool told_place;
	char waiting[BROKER_WAITING_MAX]; /* for an image; "": for none */
	uint64_t told_us;                 /* when that was said last */
	uint64_t give_up;                 /* when a lost daemon is not waited for any more */
	int fd;                           /* -1: no connection */
	bool holding;                     /* `hold` has not been answered yet */
	pid_t qemu;
	char *name;                     /* of the VM; NULL until it has been started */
	char record_id[UUID_TEXT_SIZE]; /* of the VM's usage record; "": the daemon keeps none */
};

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata);
static int on_retry(sd_event_source *source, uint64_t usec, void *userdata);

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return fd < 0 ? -errno : -ENAMETOOLONG;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static void broker_disconnect(struct broker *b)
{
	b->source = sd_event_source_disable_unref(b->source);
	b->fd = base_close(b->fd);
	b->holding = false;
}

struct broker *broker_free(struct broker *b)
{
	if (!b)
		return NULL;
	broker_disconnect(b);
	sd_event_source_disable_unref(b->timer);
	sd_event_unref(b->event);
	free(b->name);
	free(b);
	return NULL;
}

static int broker_connect(struct broker *b)
{
	int r = b->fd = connect_to(b->path);

	if (r >= 0)
		r = sd_event_add_io(b->event, &b->source, b->fd, EPOLLIN, on_answer, b);
	if (r < 0)
		broker_disconnect(b);
	return MIN_OF(r, 0);
}

static int broker_retry_in(struct broker *b, uint64_t us)
{
	b->timer = sd_event_source_disable_unref(b->timer);
	return sd_event_add_time_relative(b->event, &b->timer, CLOCK_MONOTONIC, us, 0, on_retry, b);
}

static json_t *open_to_json(const struct broker *b)
{
	const struct request *request = b->request;

	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:b, s:s*, s:s*, s:I, s:o*}", "op", "open",
		"image", request->image, "cpus", (json_int_t)request->cpus, "memory_mib",
		(json_int_t)request->memory_mib, "scratch_bytes",
		(json_int_t)request->scratch_bytes, "own", b->own_image, "root_lvm",
		request->root_lvm, "digest", b->own_image ? b->resources->image_digest : NULL,
		"network", request->network == VM_NETWORK_TAP ? request->network_name : NULL,
		"queues", (json_int_t)VM_QUEUES_MAX, "job_network",
		request->crew && request->network == VM_NETWORK_TAP ? crew_to_json(request->crew)
								    : NULL);
}

static json_t *hold_to_json(const struct broker *b)
{
	const struct request *request = b->request;

	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:s*, s:s*}", "op", "hold", "image",
		request->image, "digest", b->resources->image_digest, "cpus",
		(json_int_t)request->cpus, "memory_mib", (json_int_t)request->memory_mib, "pid",
		(json_int_t)b->qemu, "own", b->own_image, "record_id",
		b->record_id[0] ? b->record_id : NULL, "name", b->name);
}

/* Takes `question`; the descriptors stay the caller's. */
static int broker_send_with(struct broker *b, json_t *question, const int *fds, size_t count)
{
	int r = !question   ? -ENOMEM
		: b->fd < 0 ? -ENOTCONN
			    : packet_send(b->fd, question, fds, count);

	json_decref(question);
	return r;
}

static int broker_send(struct broker *b, json_t *question)
{
	return broker_send_with(b, question, NULL, 0);
}

/* A daemon that is new learns which volumes are the VM's by seeing them. */
static int broker_hold(struct broker *b)
{
	const int disks[] = {b->resources->scratch_fd, b->resources->disk_fd};
	int fds[ARRAY_SIZE(disks)];
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(disks); i++)
		if (scratch_is_volume(disks[i]))
			fds[count++] = disks[i];
	return broker_send_with(b, hold_to_json(b), fds, count);
}

/* The rest of the run goes on without a daemon, or does not go on. */
static void broker_give_up(struct broker *b, int error)
{
	resources_fn done = b->done;
	int r;

	broker_disconnect(b);
	if (b->required) {
		r = fail(b->err, -EHOSTDOWN,
			"the node's daemon, wnodes-hypervisor, does not answer at '%s': %s; ask "
			"the administrator to start it, or set [vm] broker in wnodes.conf",
			b->path, strerror(-error));
	} else {
		log_warning("the node's daemon does not answer at '%s': %s; going on without it",
			b->path, strerror(-error));
		local_close(b->resources);
		r = local_open(b->request, b->resources, b->err);
	}
	done(r < 0 ? b->err->text : NULL, b->userdata);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct broker *b = userdata;
	int r = broker_connect(b);

	if (r == 0)
		r = b->lent ? broker_hold(b) : broker_send(b, open_to_json(b));
	b->holding = r == 0 && b->lent;
	if (r == 0)
		return 0;
	broker_disconnect(b);
	if (!b->lent && deadline_left_ms(b->give_up) == 0)
		broker_give_up(b, r);
	else
		broker_retry_in(b, b->lent ? BROKER_REJOIN_US : BROKER_RETRY_US);
	return 0;
}

/* The daemon has ended. The VM does not need it, but the next daemon is to know of the VM. */
static void broker_lose(struct broker *b)
{
	broker_disconnect(b);
	if (b->opened && !b->lent) {
		fail(b->err, -EHOSTDOWN, "the node's daemon has ended meanwhile; try again");
		b->done(b->err->text, b->userdata);
		return;
	}
	if (b->lent && b->qemu == 0)
		return; /* the VM has not started, and is not there to be counted */
	if (!b->lent)
		b->give_up = deadline_in_ms(BROKER_PATIENCE_MS);
	broker_retry_in(b, b->lent ? BROKER_REJOIN_US : BROKER_RETRY_US);
}

static int take_manifest(struct broker *b, json_t *answer)
{
	struct resources *r = b->resources;
	autofree char *text = json_dumps(json_object_get(answer, "manifest"), JSON_COMPACT);
	const char *name = json_string_value(json_object_get(answer, "name"));
	const char *tag = json_string_value(json_object_get(answer, "tag"));
	const char *digest = json_string_value(json_object_get(answer, "digest"));

	if (!text || !digest || !digest_is_hex(digest))
		return fail(b->err, -EPROTO, "the node's daemon did not say what the image is");
	memcpy(r->image_digest, digest, DIGEST_HEX_SIZE);
	r->image_name = name ? strdup(name) : NULL;
	r->image_tag = name && tag ? strdup(tag) : NULL;
	return manifest_parse(text, strlen(text), &r->manifest, b->err);
}

static int check_descriptors(struct broker *b)
{
	const struct resources *r = b->resources;
	bool kernel = r->manifest->boot == IMAGE_BOOT_KERNEL;
	bool root = b->request->root_lvm ? scratch_is_volume(r->disk_fd) : r->overlay_fd >= 0;

	if (r->disk_fd < 0 || !root || (kernel && (r->kernel_fd < 0 || r->initrd_fd < 0)) ||
		(r->manifest->agent == IMAGE_AGENT_SEED && r->seed_fd < 0) ||
		(b->request->scratch_bytes > 0 && r->scratch_fd < 0) ||
		(b->request->network == VM_NETWORK_TAP && r->tap.count == 0))
		return fail(b->err, -EPROTO, "the node's daemon lent less than was asked for");
	return 0;
}

static int broker_take(struct broker *b, json_t *answer, int *fds, size_t count)
{
	struct resources *r = b->resources;
	int ret;

	resources_take(r, json_object_get(answer, "descriptors"), fds, count);
	ret = b->own_image ? 0 : take_manifest(b, answer);
	if (ret == 0)
		ret = check_descriptors(b);
	if (ret == 0 && b->request->network == VM_NETWORK_TAP)
		ret = card_parse(json_object_get(answer, "network"), &r->card, b->err);
	if (ret == 0)
		ret = local_check(b->request, r->manifest, b->err);
	if (ret == 0 && r->overlay_fd >= 0)
		ret = overlay_write(r->overlay_fd, r->manifest->disk_size, b->err);
	if (ret == 0 && b->request->scratch_bytes > 0 && !scratch_is_volume(r->scratch_fd))
		ret = scratch_format(r->scratch_fd, b->err);
	return ret;
}

/* For an image that is being fetched. The VM's own deadlines begin when it is there. */
static void tell_fetch(struct broker *b, const char *reason)
{
	uint64_t now = clock_now_us();

	snprintf(b->waiting, sizeof(b->waiting), "%s", reason);
	printable_make_line(b->waiting, strlen(b->waiting));
	if (b->told_us == 0 || now - b->told_us > BROKER_TELL_US) {
		log_notice("waiting for the image: %s", b->waiting);
		b->told_us = now;
	}
}

static void tell_place(struct broker *b, json_t *waiting)
{
	const char *reason = json_string_value(json_object_get(waiting, "reason"));

	b->waiting[0] = '\0';
	if (reason && !json_object_get(waiting, "place")) {
		tell_fetch(b, reason);
		return;
	}
	if (!b->told_place)
		log_warning("waiting for the node, place %lld: %s",
			(long long)json_integer_value(json_object_get(waiting, "place")),
			reason ? reason : "it is full");
	b->told_place = true;
}

static int refusal_code(json_t *answer)
{
	return json_is_true(json_object_get(answer, "drained")) ? -ESHUTDOWN : -EREMOTEIO;
}

bool broker_has_told_place(const struct broker *b)
{
	return b && (b->told_place || b->told_us > 0);
}

const char *broker_get_waiting(const struct broker *b)
{
	return b && !b->lent && b->waiting[0] ? b->waiting : NULL;
}

/* By this id the daemon knows of the VM's usage record. */
static void take_record_id(struct broker *b, json_t *answer)
{
	const char *id = json_string_value(json_object_get(answer, "record_id"));

	if (b->request->record && id && uuid_is_text(id))
		snprintf(b->record_id, sizeof(b->record_id), "%s", id);
}

static uint64_t take_limit(json_t *limits, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(limits, key));

	return n > 0 ? (uint64_t)n : 0;
}

/* What the node's daemon allows holds, whatever our own settings say. */
static void take_limits(struct broker *b, json_t *answer)
{
	json_t *limits = json_object_get(answer, "limits");

	b->resources->disk_iops = take_limit(limits, "disk_iops");
	b->resources->disk_rate = take_limit(limits, "disk_rate");
}

/* The name that the site has for this VM. */
static void take_lease(struct broker *b, json_t *answer)
{
	json_t *lease = json_object_get(answer, "lease");
	const char *name = json_string_value(json_object_get(lease, "name"));

	if (name && vm_identity_is_hostname(name))
		b->resources->hostname = strdup(name);
}

/* The next volume that the VM is to have. Returns 1 if one was asked for, 0 if there is none, or
 * negative errno. */
static int ask_volume(struct broker *b)
{
	const struct volume_list *list = &b->request->volumes;
	const struct volume_request *v = &list->items[b->resources->volume_count];
	int r;

	if (b->resources->volume_count == list->count)
		return 0;
	if (b->resources->volume_count == 0)
		log_debug("waiting for volumes");
	r = broker_send(b, json_pack("{s:s, s:s, s:b}", "op", "volume", "volume", v->name,
				   "read_only", v->read_only));
	return r < 0 ? fail_errno(b->err, r, "cannot ask the node's daemon for a volume") : 1;
}

static int take_volume(struct broker *b, json_t *answer, int *fds, size_t count)
{
	struct resources *r = b->resources;
	const struct volume_request *asked = &b->request->volumes.items[r->volume_count];
	struct volume_lent *v = &r->volumes[r->volume_count];
	json_t *offer = json_object_get(answer, "volume");
	const char *id = json_string_value(json_object_get(offer, "id"));
	const char *address = json_string_value(json_object_get(offer, "address"));
	const char *key = json_string_value(json_object_get(offer, "key"));

	r->volume_count++;
	*v = (struct volume_lent){.fd = count > 0 ? TAKE_FD(fds[0]) : -1,
		.id = id && uuid_is_text(id) ? strdup(id) : NULL,
		.address = address && vm_identity_is_hostname(address) ? strdup(address) : NULL,
		.key = key && digest_is_hex(key) ? strdup(key) : NULL,
		.port = (uint64_t)json_integer_value(json_object_get(offer, "port")),
		.read_only = asked->read_only};
	if (v->id && (v->fd >= 0 || (v->address && v->key)))
		return ask_volume(b);
	return fail(
		b->err, -EPROTO, "the node's daemon did not say where volume '%s' is", asked->name);
}

/* What comes after the image's parts. */
static void broker_on_volume(struct broker *b, json_t *answer, int *fds, size_t count)
{
	const char *refusal = json_string_value(json_object_get(answer, "error"));
	int r = refusal ? fail(b->err, -EREMOTEIO, "%s", refusal)
			: take_volume(b, answer, fds, count);

	if (r > 0)
		return;
	b->lent = r == 0;
	b->done(r < 0 ? b->err->text : NULL, b->userdata);
}

static void broker_on_answer(struct broker *b, json_t *answer, int *fds, size_t count)
{
	const char *refusal = json_string_value(json_object_get(answer, "error"));
	json_t *waiting = json_object_get(answer, "waiting");
	int r;

	if (b->lent) { /* to `hold`; if it is refused, there is nothing that we could do */
		b->holding = false;
		take_record_id(b, answer);
		return;
	}
	if (b->opened) {
		broker_on_volume(b, answer, fds, count);
		return;
	}
	if (waiting) {
		tell_place(b, waiting);
		return;
	}
	r = refusal ? fail(b->err, refusal_code(answer), "%s", refusal)
		    : broker_take(b, answer, fds, count);
	if (r == 0) {
		take_record_id(b, answer);
		take_lease(b, answer);
		take_limits(b, answer);
		b->opened = true;
		r = ask_volume(b);
	}
	if (r > 0)
		return;
	b->lent = r == 0;
	b->done(r < 0 ? b->err->text : NULL, b->userdata);
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct broker *b = userdata;
	int fds[PACKET_FDS_MAX], r;
	json_t *answer = NULL;
	size_t count = 0;

	r = packet_recv(fd, &answer, fds, &count);
	if (r == -EAGAIN || r == -EINTR)
		return 0;
	if (r <= 0) {
		broker_lose(b);
		return 0;
	}
	broker_on_answer(b, answer, fds, count);
	for (size_t i = 0; i < count; i++)
		base_close(fds[i]);
	json_decref(answer);
	return 0;
}

static const char *broker_path(const char *setting, bool *ret_required)
{
	*ret_required = !streq(setting, "auto");
	return *ret_required ? setting : BROKER_SOCKET;
}

/* What there may be in the user's own store stays the user's; the daemon gives the rest. */
static int broker_find_own(struct broker *b)
{
	struct error err = {0};
	int r = local_open_own_image(b->request, b->resources, &err);

	b->own_image = r == 0;
	return r == -ENOENT || r == 0 ? 0 : fail(b->err, r, "%s", err.text);
}

static int broker_start(struct broker *b)
{
	int r = broker_connect(b);

	if (r < 0 && !b->required && r != -EAGAIN) {
		/* Not there, or in a directory that root's own VMs have made for root. */
		if (r != -ENOENT && r != -EACCES)
			log_warning(
				"the node's daemon does not answer at '%s': %s; going on without "
				"it",
				b->path, strerror(-r));
		return -ENOENT;
	}
	/* One that must be there may be just about to. */
	b->give_up = deadline_in_ms(BROKER_PATIENCE_MS);
	if (broker_find_own(b) < 0)
		return b->err->code;
	if (r == 0)
		r = broker_send(b, open_to_json(b));
	if (r < 0) {
		broker_disconnect(b);
		r = broker_retry_in(b, BROKER_RETRY_US);
	}
	return r < 0 ? fail_errno(b->err, r, "cannot ask the node's daemon") : 1;
}

int broker_open(sd_event *event, const struct request *request, struct resources *ret,
	resources_fn done, void *userdata, struct error *err)
{
	struct broker *b AUTO(broker_freep) = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return fail(err, -ENOMEM, "out of memory");
	*b = (struct broker){.event = sd_event_ref(event),
		.request = request,
		.resources = ret,
		.done = done,
		.userdata = userdata,
		.err = err,
		.fd = -1};
	b->path = broker_path(request->settings->broker, &b->required);
	r = broker_start(b);
	if (r > 0)
		ret->broker = TAKE_PTR(b);
	return r;
}

bool broker_has_templates(const struct broker *b)
{
	return b && b->lent && !b->own_image;
}

/* Waits for one answer, whatever else the loop has to do. */
static int receive(int fd, json_t **ret, int fds[PACKET_FDS_MAX], size_t *ret_count)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int r = deadline_poll(&p, 1, deadline_in_ms(BROKER_ANSWER_MS));

	*ret_count = 0;
	if (r >= 0)
		r = packet_recv(fd, ret, fds, ret_count);
	return r == 0 ? -ECONNRESET : MIN_OF(r, 0);
}

/* The answer to `hold` comes before all others. */
static int broker_end_hold(struct broker *b)
{
	int fds[PACKET_FDS_MAX], r;
	json_t *answer = NULL;
	size_t count = 0;

	if (!b->holding || b->fd < 0)
		return 0;
	r = receive(b->fd, &answer, fds, &count);
	while (count > 0)
		close(fds[--count]);
	if (r == 0)
		broker_on_answer(b, answer, NULL, 0);
	json_decref(answer);
	return r;
}

/* Takes `question`; the descriptor (-1: none) stays the caller's. Returns 0 and the answer, or
 * negative errno. */
static int broker_call_with(struct broker *b, json_t *question, int fd, json_t **ret,
	int fds[PACKET_FDS_MAX], size_t *ret_count)
{
	int r = broker_end_hold(b), sent = broker_send_with(b, question, &fd, fd >= 0);

	*ret_count = 0;
	if (r == 0)
		r = sent;
	if (r == 0)
		r = receive(b->fd, ret, fds, ret_count);
	if (r < 0 && b->fd >= 0)
		broker_lose(b);
	return r;
}

static int broker_call(struct broker *b, json_t *question, json_t **ret, int fds[PACKET_FDS_MAX],
	size_t *ret_count)
{
	return broker_call_with(b, question, -1, ret, fds, ret_count);
}

static void broker_tell(struct broker *b, json_t *what)
{
	int fds[PACKET_FDS_MAX];
	json_t *answer = NULL;
	size_t count = 0;

	if (!b || !b->lent || b->fd < 0)
		json_decref(what);
	else if (broker_call(b, what, &answer, fds, &count) == 0)
		while (count > 0)
			close(fds[--count]);
	json_decref(answer);
}

static int take_template(struct template *t, json_t *answer, int *fds, size_t count,
	uint64_t memory_mib, struct error *err)
{
	static const char *const names[] = {"memory", "state", "overlay"};
	int *const members[] = {&t->memory_fd, &t->state_fd, &t->overlay_fd};
	json_t *list = json_object_get(answer, "descriptors");

	for (size_t i = 0; i < count; i++) {
		const char *name = json_string_value(json_array_get(list, i));

		for (size_t j = 0; name && j < ARRAY_SIZE(names); j++)
			if (streq(names[j], name) && *members[j] < 0)
				*members[j] = TAKE_FD(fds[i]);
		base_close(fds[i]);
	}
	if (t->memory_fd < 0 || t->state_fd < 0 || t->overlay_fd < 0)
		return -ENOENT;
	return memory_check_sealed(t->memory_fd, memory_mib * MIB, err);
}

int broker_open_template(struct broker *b, const char *key, uint64_t memory_mib,
	struct template **ret, struct error *err)
{
	struct template *t AUTO(template_closep) = calloc(1, sizeof(*t));
	int fds[PACKET_FDS_MAX], r;
	json_t *answer = NULL;
	size_t count = 0;

	if (!t)
		return fail(err, -ENOMEM, "out of memory");
	*t = (struct template){.lock_fd = -1, .memory_fd = -1, .state_fd = -1, .overlay_fd = -1};
	r = broker_call(
		b, json_pack("{s:s, s:s}", "op", "template", "key", key), &answer, fds, &count);
	if (r < 0)
		return fail_errno(err, -ENOENT, "the node's daemon does not answer");
	r = take_template(t, answer, fds, count, memory_mib, err);
	json_decref(answer);
	if (r == 0)
		*ret = TAKE_PTR(t);
	return r;
}

void broker_tell_template_failed(struct broker *b, const char *key)
{
	broker_tell(b, json_pack("{s:s, s:s}", "op", "template-failed", "key", key));
}

void broker_tell_used(struct broker *b, const char *key, uint64_t start_us)
{
	broker_tell(b, json_pack("{s:s, s:s, s:I}", "op", "used", "key", key, "start_us",
			       (json_int_t)start_us));
}

void broker_tell_wish(struct broker *b, const struct shape *shape, const char *key)
{
	broker_tell(b, json_pack("{s:s, s:s, s:I, s:I, s:s, s:I, s:b, s:s*}", "op", "wish", "accel",
			       accel_name(shape->accel), "cpus", (json_int_t)shape->cpus,
			       "memory_mib", (json_int_t)shape->memory_mib, "network",
			       shape->network == VM_NETWORK_NONE ? "none" : "user", "slots",
			       (json_int_t)shape->slots, "scratch", shape->scratch, "key",
			       key[0] ? key : NULL));
}

void broker_tell_started(struct broker *b)
{
	broker_tell(b, json_pack("{s:s}", "op", "started"));
}

void broker_tell_failed(struct broker *b, const char *reason)
{
	broker_tell(b, json_pack("{s:s, s:s%}", "op", "failed", "reason", reason,
			       MIN_OF(strlen(reason), (size_t)200)));
}

int broker_map_groups(struct broker *b, pid_t pid)
{
	int fds[PACKET_FDS_MAX], r;
	json_t *answer = NULL;
	struct error err = {0};
	size_t count = 0;

	if (!b || !b->lent || b->fd < 0)
		return -ENOENT;
	r = broker_call(b, json_pack("{s:s, s:I}", "op", "map-groups", "pid", (json_int_t)pid),
		&answer, fds, &count);
	while (count > 0)
		close(fds[--count]);
	if (r == 0)
		r = packet_check_refusal(&answer, &err);
	if (r < 0)
		log_debug("the node's daemon has not mapped the user's groups: %s",
			err.text[0] ? err.text : strerror(-r));
	json_decref(answer);
	return r;
}

int broker_export(
	struct broker *b, int directory_fd, bool read_only, json_t **ret, struct error *err)
{
	int fds[PACKET_FDS_MAX], r;
	size_t count = 0;

	r = broker_call_with(b, json_pack("{s:s, s:b}", "op", "export", "read_only", read_only),
		directory_fd, ret, fds, &count);
	while (count > 0)
		close(fds[--count]);
	return r < 0 ? fail_errno(err, r, "the node's daemon does not answer")
		     : packet_check_refusal(ret, err);
}

void broker_set_vm(struct broker *b, pid_t qemu, const char *name)
{
	if (!b)
		return;
	b->qemu = qemu;
	free(b->name);
	b->name = strdup(name);
	/* The answer is none: a VM's start does not wait for it. */
	if (b->lent && b->fd >= 0 && b->record_id[0])
		broker_send(b, json_pack("{s:s, s:I, s:s*}", "op", "vm", "pid", (json_int_t)qemu,
				       "name", b->name));
	/* It may have been lost while the VM was about to start. */
	if (b->lent && b->fd < 0)
		broker_retry_in(b, BROKER_REJOIN_US);
}

const char *broker_record_id(const struct broker *b)
{
	return b && b->lent && b->record_id[0] ? b->record_id : NULL;
}

static int ask_to_record(struct broker *b, json_t *record)
{
	int fds[PACKET_FDS_MAX], r;
	json_t *answer = NULL;
	size_t count = 0;

	if (b->fd < 0)
		return -ENOTCONN;
	r = broker_call(
		b, json_pack("{s:s, s:O}", "op", "record", "record", record), &answer, fds, &count);
	while (count > 0)
		close(fds[--count]);
	if (r == 0 && json_object_get(answer, "error")) {
		log_debug("the node's daemon does not take the usage record: %s",
			json_string_value(json_object_get(answer, "error")));
		r = -EREMOTEIO;
	}
	json_decref(answer);
	return r;
}

int broker_send_record(struct broker *b, json_t *record, struct error *err)
{
	autofree char *spool = NULL;

	if (ask_to_record(b, record) == 0)
		return 0;
	/* The next daemon takes it; if this one has it after all, it is told so by its id. */
	spool = spool_path(b->path);
	return spool ? spool_write(spool, record, err) : fail(err, -ENOMEM, "out of memory");
}

int broker_ask(const char *broker, json_t *question, json_t **ret, struct error *err)
{
	bool required;
	const char *path = broker_path(streq(broker, "none") ? "auto" : broker, &required);
	autoclose int fd = connect_to(path);
	int fds[PACKET_FDS_MAX], r = fd < 0 ? fd : packet_send(fd, question, NULL, 0);
	size_t count = 0;

	if (r == 0)
		r = receive(fd, ret, fds, &count);
	if (r < 0)
		return fail_errno(err, r,
			"the node's daemon, wnodes-hypervisor, does not answer at '%s'", path);
	while (count > 0)
		close(fds[--count]);
	return packet_check_refusal(ret, err);
}
