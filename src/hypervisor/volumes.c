#include "hypervisor/volumes.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>

#include "engine/packet.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "storage/volume.h"

/* How often what is in use is tried to be removed again. What an earlier daemon has lent is in use
 * as a rule: its VM is to tell us first, and is not asked often. */
#define RETRY_US        1000000
#define ORPHAN_FIRST_US (5 * UINT64_C(1000000))
#define ORPHAN_RETRY_US (30 * UINT64_C(1000000))

/* How much the keeper is told before it has answered: a socket's buffer holds more. */
#define FLYING_MAX 16

/* In names of volumes with images, as VOLUME_IMAGE_PREFIX has it. */
#define VOLUME_IMAGE_LETTER 'i'

/* After so many times who still has it open is cut off: by then a VM that was killed is gone. */
#define CUT_TRIES 5

/* What a keeper that was killed with its daemon has still done is seen by then. */
#define LOOK_AGAIN_US (60 * UINT64_C(1000000))

enum volume_state {
	VOLUME_MAKING,
	VOLUME_READY,
	VOLUME_LENT,
	VOLUME_GOING,  /* it came back */
	VOLUME_ORPHAN, /* of an earlier daemon: perhaps a VM has it still */
	VOLUME_IMAGE,  /* an image is on it, of which snapshots are made */
};

struct volume {
	char name[VOLUME_NAME_MAX];
	enum volume_state state;
	int fd;
	uint64_t bytes;           /* as asked for */
	char of[VOLUME_NAME_MAX]; /* it is a snapshot of this one; "": it is none */
	volume_fn done;           /* of who waits for it; NULL: it becomes a ready one */
	void *userdata;
	unsigned int tries;
	uint64_t retry_us; /* not before */
	bool asked;        /* the keeper is to remove it, and has not answered */
	struct volume *next;
};

struct volumes {
	sd_event *event;
	sd_event_source *source, *timer, *look;
	int fd;
	json_t *queue; /* of questions */
	unsigned int flying;
	const struct settings *settings;
	char *group, *pool; /* as at the start */
	struct volumes_events events;
	struct volume *list;
	char why[ERROR_TEXT_MAX]; /* none could be made for stock; "": all is well */
};

static void keeper_pump(struct volumes *v, unsigned int most)
{
	while (v->flying < most && json_array_size(v->queue) > 0) {
		int r = packet_send(v->fd, json_array_get(v->queue, 0), NULL, 0);

		if (r < 0 && r != -EAGAIN) /* its end is heard */
			log_error("the keeper of volumes is not heard: %s", strerror(-r));
		if (r < 0)
			return;
		json_array_remove(v->queue, 0);
		v->flying++;
	}
}

/* Takes `question`. Who waits for a volume comes before what can wait. */
static void keeper_ask(struct volumes *v, json_t *question, bool urgent)
{
	if (urgent)
		json_array_insert_new(v->queue, 0, question);
	else
		json_array_append_new(v->queue, question);
	keeper_pump(v, FLYING_MAX);
}

static struct volume *volume_find(struct volumes *v, const char *name)
{
	for (struct volume *i = v->list; i; i = i->next)
		if (streq(i->name, name))
			return i;
	return NULL;
}

static struct volume *volume_add(struct volumes *v, const char *name, enum volume_state state)
{
	struct volume *volume = calloc(1, sizeof(*volume));

	if (!volume)
		return NULL;
	*volume = (struct volume){.state = state, .fd = -1, .next = v->list};
	snprintf(volume->name, sizeof(volume->name), "%s", name);
	v->list = volume;
	return volume;
}

static void volume_forget(struct volumes *v, struct volume *volume)
{
	struct volume **at = &v->list;

	while (*at && *at != volume)
		at = &(*at)->next;
	if (*at)
		*at = volume->next;
	base_close(volume->fd);
	free(volume);
}

/* A new one, which has a name of its own. `kind` is a letter of that. */
static struct volume *volume_new(struct volumes *v, char kind, uint64_t bytes)
{
	char name[VOLUME_NAME_MAX];
	struct volume *volume;
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return NULL;
	snprintf(name, sizeof(name), VOLUME_PREFIX "%c_%016llx", kind, (unsigned long long)number);
	volume = volume_add(v, name, VOLUME_MAKING);
	if (volume)
		volume->bytes = bytes;
	return volume;
}

/* `of`: NULL: an empty one. */
static struct volume *volume_start(
	struct volumes *v, uint64_t bytes, const struct volume *of, bool urgent)
{
	struct volume *volume = volume_new(v, of ? 'r' : 'v', bytes);

	if (!volume)
		return NULL;
	if (of)
		memcpy(volume->of, of->name, sizeof(volume->of));
	keeper_ask(v,
		of ? json_pack("{s:s, s:s, s:s}", "op", "snapshot", "name", volume->name, "of",
			     of->name)
		   : json_pack("{s:s, s:s, s:I}", "op", "make", "name", volume->name, "bytes",
			     (json_int_t)bytes),
		urgent);
	return volume;
}

static void volume_drop(struct volumes *v, struct volume *volume)
{
	bool orphan = volume->state == VOLUME_ORPHAN;

	volume->fd = base_close(volume->fd);
	volume->asked = true;
	keeper_ask(v,
		json_pack("{s:s, s:s, s:b, s:b}", "op", "remove", "name", volume->name, "discard",
			!orphan, "cut", !orphan && volume->tries >= CUT_TRIES),
		false);
}

static bool is_stock(const struct volume *volume)
{
	return volume->state == VOLUME_READY || (volume->state == VOLUME_MAKING && !volume->done);
}

static bool is_same(const struct volume *volume, uint64_t bytes, const struct volume *of)
{
	return volume->bytes == bytes && streq(volume->of, of ? of->name : "");
}

/* One more is made ready of the kind that was asked for last, in the place of one of another size
 * or of another image. Snapshots and empty ones do not take each other's place. */
static void volumes_refill(struct volumes *v, uint64_t bytes, const struct volume *of)
{
	uint64_t most = v->settings->node_volumes_ready, stock = 0;
	struct volume *other = NULL;

	for (struct volume *i = v->list; i; i = i->next) {
		if (!is_stock(i) || (i->of[0] != '\0') != (of != NULL))
			continue;
		stock++;
		if (i->state == VOLUME_READY && !is_same(i, bytes, of))
			other = i;
	}
	if (stock >= most && other) {
		other->state = VOLUME_GOING;
		volume_drop(v, other);
		stock--;
	}
	if (stock < most)
		volume_start(v, bytes, of, false);
}

static int take(struct volumes *v, uint64_t bytes, const struct volume *of, volume_fn done,
	void *userdata, struct volume **ret)
{
	struct volume *volume = v->list;

	while (volume && !(volume->state == VOLUME_READY && is_same(volume, bytes, of)))
		volume = volume->next;
	if (volume) {
		volume->state = VOLUME_LENT;
		*ret = volume;
		volumes_refill(v, bytes, of);
		return 1;
	}
	volume = volume_start(v, bytes, of, true);
	if (!volume)
		return -ENOMEM;
	volume->done = done;
	volume->userdata = userdata;
	volumes_refill(v, bytes, of);
	return 0;
}

int volumes_take(
	struct volumes *v, uint64_t bytes, volume_fn done, void *userdata, struct volume **ret)
{
	return take(v, bytes, NULL, done, userdata, ret);
}

int volumes_take_snapshot(struct volumes *v, const struct volume *image, volume_fn done,
	void *userdata, struct volume **ret)
{
	return take(v, 0, image, done, userdata, ret);
}

int volumes_make_bare(struct volumes *v, uint64_t bytes, volume_fn done, void *userdata)
{
	struct volume *volume = volume_new(v, VOLUME_IMAGE_LETTER, bytes);

	if (!volume)
		return -ENOMEM;
	volume->done = done;
	volume->userdata = userdata;
	keeper_ask(v,
		json_pack("{s:s, s:s, s:I, s:b}", "op", "make", "name", volume->name, "bytes",
			(json_int_t)bytes, "bare", true),
		true);
	return 0;
}

void volumes_mark(struct volumes *v, struct volume *volume, const char *digest, volume_fn done,
	void *userdata)
{
	volume->fd = base_close(volume->fd);
	volume->done = done;
	volume->userdata = userdata;
	keeper_ask(v,
		json_pack("{s:s, s:s, s:s}", "op", "mark", "name", volume->name, "digest", digest),
		true);
}

bool volumes_is_used(const struct volumes *v, const struct volume *image)
{
	for (const struct volume *i = v->list; i; i = i->next)
		if (streq(i->of, image->name) &&
			(i->state == VOLUME_LENT || (i->state == VOLUME_MAKING && i->done)))
			return true;
	return false;
}

void volumes_cancel(struct volumes *v, const void *userdata)
{
	for (struct volume *i = v ? v->list : NULL; i; i = i->next)
		if (i->state == VOLUME_MAKING && i->userdata == userdata) {
			i->done = NULL;
			i->userdata = NULL;
		}
}

void volumes_watch(struct volumes *v, const struct volumes_events *events)
{
	v->events = *events;
}

/* Nobody wants a snapshot of what is gone. */
static void drop_snapshots(struct volumes *v, const struct volume *image)
{
	for (struct volume *i = v->list; i; i = i->next)
		if (i->state == VOLUME_READY && streq(i->of, image->name)) {
			i->state = VOLUME_GOING;
			volume_drop(v, i);
		}
}

void volumes_return(struct volumes *v, struct volume *volume)
{
	drop_snapshots(v, volume);
	volume->state = VOLUME_GOING;
	volume_drop(v, volume);
}

/* Claims come before LVM has said what there is, so the kernel is asked. */
struct volume *volumes_claim(struct volumes *v, int fd)
{
	char name[VOLUME_NAME_MAX];
	struct volume *volume;

	if (!v || volume_identify(fd, v->group, name) < 0 || str_after(name, VOLUME_IMAGE_PREFIX))
		return NULL;
	volume = volume_find(v, name);
	if (!volume)
		volume = volume_add(v, name, VOLUME_ORPHAN);
	if (!volume || volume->state != VOLUME_ORPHAN)
		return NULL;
	volume->state = VOLUME_LENT;
	return volume;
}

int volume_fd(const struct volume *volume)
{
	return volume ? volume->fd : -1;
}

/* None can be made, so none that is ready is lent either: what it writes would find no room. */
static void stock_failed(struct volumes *v, const char *why)
{
	if (!streq(v->why, why))
		log_warning("no volumes are kept ready: %s", why);
	snprintf(v->why, sizeof(v->why), "%s", why);
	for (struct volume *i = v->list; i; i = i->next)
		if (i->state == VOLUME_READY)
			volumes_return(v, i);
}

/* A snapshot for stock whose image has gone meanwhile is nobody's. */
static bool is_left(struct volumes *v, const struct volume *volume)
{
	const struct volume *image = volume->of[0] ? volume_find(v, volume->of) : NULL;

	return volume->of[0] && (!image || image->state != VOLUME_IMAGE);
}

static void on_made(
	struct volumes *v, struct volume *volume, json_t *answer, const char *why, int *fd)
{
	volume_fn done = volume->done;
	void *userdata = volume->userdata;

	if (!why) {
		volume->fd = TAKE_FD(*fd);
		volume->state = done ? VOLUME_LENT : VOLUME_READY;
		v->why[0] = '\0';
		if (done)
			done(volume, NULL, userdata);
		else if (is_left(v, volume))
			volumes_return(v, volume);
		return;
	}
	volume_forget(v, volume);
	if (done)
		done(NULL, why, userdata);
	else
		stock_failed(v, why);
}

static void on_marked(
	struct volumes *v, struct volume *volume, json_t *answer, const char *why, int *fd)
{
	volume_fn done = volume->done;

	volume->done = NULL;
	if (!why)
		volume->state = VOLUME_IMAGE;
	done(why ? NULL : volume, why, volume->userdata);
}

/* One that is in use is tried again by the timer. */
static void on_removed(
	struct volumes *v, struct volume *volume, json_t *answer, const char *why, int *fd)
{
	volume->asked = false;
	volume->tries++;
	volume->retry_us =
		clock_now_us() + (volume->state == VOLUME_ORPHAN ? ORPHAN_RETRY_US : RETRY_US);
	if (why && volume->tries == 1)
		log_warning(
			"the volume '%s' is not removed yet: %s; trying again", volume->name, why);
	if (!why && !json_is_true(json_object_get(answer, "busy")))
		volume_forget(v, volume);
}

/* What an earlier daemon has left. */
static void volume_found(struct volumes *v, const char *name, const char *digest)
{
	bool image = digest && str_after(name, VOLUME_IMAGE_PREFIX) && v->events.on_image;
	struct volume *volume = volume_add(v, name, image ? VOLUME_IMAGE : VOLUME_ORPHAN);

	if (!volume)
		return;
	volume->retry_us = clock_now_us() + ORPHAN_FIRST_US;
	if (image)
		v->events.on_image(volume, digest, v->events.userdata);
}

static void on_listed(struct volumes *v, json_t *answer, const char *why)
{
	json_t *images = json_object_get(answer, "images"), *name;
	size_t i;

	if (why)
		log_error("%s; no volumes are lent until it is mended", why);
	json_array_foreach(json_object_get(answer, "names"), i, name)
	{
		const char *text = json_string_value(name);

		if (text && !volume_find(v, text))
			volume_found(v, text, json_string_value(json_object_get(images, text)));
	}
	if (v->events.on_listed)
		v->events.on_listed(v->events.userdata);
}

static void keeper_on_answer(struct volumes *v, json_t *answer, int *fd)
{
	const char *op = json_string_value(json_object_get(answer, "op"));
	const char *name = json_string_value(json_object_get(answer, "name"));
	const char *why = json_string_value(json_object_get(answer, "error"));
	struct volume *volume = name ? volume_find(v, name) : NULL;

	v->flying--;
	keeper_pump(v, FLYING_MAX);
	if (!op)
		return;
	if (json_is_true(json_object_get(answer, "full")) && v->events.on_full)
		v->events.on_full(v->events.userdata);
	if (streq(op, "list"))
		on_listed(v, answer, why);
	else if (volume && streq(op, "mark"))
		on_marked(v, volume, answer, why, fd);
	else if (volume && streq(op, "remove"))
		on_removed(v, volume, answer, why, fd);
	else if (volume && volume->state == VOLUME_MAKING)
		on_made(v, volume, answer, why, fd);
}

static int on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct volumes *v = userdata;
	int fds[PACKET_FDS_MAX], r;
	json_t *answer = NULL;
	size_t count = 0;

	r = packet_recv(fd, &answer, fds, &count);
	if (r == -EAGAIN || r == -EINTR)
		return 0;
	if (r <= 0) {
		log_error(
			"the keeper of volumes has ended; the daemon ends too, to be started anew");
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return sd_event_exit(v->event, -EIO);
	}
	for (size_t i = count; i < PACKET_FDS_MAX; i++)
		fds[i] = -1;
	keeper_on_answer(v, answer, &fds[0]);
	for (size_t i = 0; i < count; i++)
		base_close(fds[i]);
	json_decref(answer);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct volumes *v = userdata;
	uint64_t now = clock_now_us();

	for (struct volume *i = v->list; i; i = i->next)
		if ((i->state == VOLUME_GOING || i->state == VOLUME_ORPHAN) && !i->asked &&
			now >= i->retry_us)
			volume_drop(v, i);
	sd_event_source_set_time_relative(source, RETRY_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
	keeper_ask(userdata, json_pack("{s:s}", "op", "list"), true);
	return 0;
}

int volumes_new(sd_event *event, int keeper_fd, const struct settings *settings,
	struct volumes **ret, struct error *err)
{
	struct volumes *v = calloc(1, sizeof(*v));
	int r;

	if (!v) {
		base_close(keeper_fd);
		return fail(err, -ENOMEM, "out of memory");
	}
	*v = (struct volumes){.event = event,
		.fd = keeper_fd,
		.settings = settings,
		.queue = json_array(),
		.group = strdup(settings->node_volume_group),
		.pool = strdup(settings->node_thin_pool)};
	*ret = v;
	if (!v->queue || !v->group || !v->pool)
		return fail(err, -ENOMEM, "out of memory");
	r = sd_event_add_io(event, &v->source, keeper_fd, EPOLLIN, on_packet, v);
	if (r >= 0)
		r = sd_event_add_time_relative(
			event, &v->timer, CLOCK_MONOTONIC, RETRY_US, 0, on_timer, v);
	if (r >= 0)
		r = sd_event_add_time_relative(
			event, &v->look, CLOCK_MONOTONIC, LOOK_AGAIN_US, 0, on_look, v);
	if (r < 0)
		return fail_errno(err, r, "cannot listen to the keeper of volumes");
	keeper_ask(v, json_pack("{s:s}", "op", "list"), true);
	if (settings->scratch > 0)
		volumes_refill(v, settings->scratch, NULL);
	return 0;
}

struct volumes *volumes_free(struct volumes *v)
{
	if (!v)
		return NULL;
	while (v->list) {
		/* The keeper hears it before our end. */
		if (v->list->state == VOLUME_READY)
			volume_drop(v, v->list);
		volume_forget(v, v->list);
	}
	keeper_pump(v, UINT_MAX);
	sd_event_source_disable_unref(v->source);
	sd_event_source_disable_unref(v->timer);
	sd_event_source_disable_unref(v->look);
	base_close(v->fd);
	json_decref(v->queue);
	free(v->group);
	free(v->pool);
	free(v);
	return NULL;
}

static json_int_t count_in(const struct volumes *v, enum volume_state state)
{
	json_int_t n = 0;

	for (const struct volume *i = v->list; i; i = i->next)
		n += i->state == state;
	return n;
}

json_t *volumes_to_json(const struct volumes *v)
{
	if (!v)
		return NULL;
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s*}", "volume_group", v->group,
		"thin_pool", v->pool, "ready", count_in(v, VOLUME_READY), "lent",
		count_in(v, VOLUME_LENT), "leaving", count_in(v, VOLUME_GOING), "left",
		count_in(v, VOLUME_ORPHAN), "images", count_in(v, VOLUME_IMAGE), "problem",
		v->why[0] ? v->why : NULL);
}
