#include "hypervisor/imagevolumes.h"

#include <errno.h>
#include <stdio.h>

#include "hypervisor/admission.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/imagewriter.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/timestamp.h"

/* How often it is looked whether the node has the images still. */
#define SWEEP_US (10 * UINT64_C(1000000))

/* Who waits for a snapshot of an image that is not there yet. */
struct taker {
	volume_fn done;
	void *userdata;
	struct taker *next;
};

enum image_state {
	IMAGE_ASKED,   /* it is not known yet what there is */
	IMAGE_LOOKING, /* how large it is to be */
	IMAGE_MAKING,
	IMAGE_WRITING,
	IMAGE_MARKING,
	IMAGE_READY,
};

struct image_volume {
	struct imagewriter writer; /* first: it is the worker's job */
	struct imagevolumes *owner;
	char digest[DIGEST_HEX_SIZE];
	enum image_state state;
	struct volume *volume;
	uint64_t used_us;
	bool gone; /* the node has no such image any more */
	struct taker *takers;
	struct image_volume *next;
};

/* Looks for all of them in the store. */
struct look {
	struct worker_job job; /* first */
	struct imagevolumes *owner;
	struct store *store;
	size_t count;
	struct {
		char digest[DIGEST_HEX_SIZE];
		bool gone;
	} images[];
};

struct imagevolumes {
	struct hypervisor *hypervisor;
	sd_event_source *tick;
	struct image_volume *list;
	struct look *look; /* that is being done */
	bool listed;
	bool ending; /* read from the worker's thread */
};

static struct image_volume *image_find(const struct imagevolumes *i, const char *digest)
{
	for (struct image_volume *e = i->list; e; e = e->next)
		if (streq(e->digest, digest))
			return e;
	return NULL;
}

static struct image_volume *image_add(
	struct imagevolumes *i, const char *digest, enum image_state state)
{
	struct image_volume *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->owner = i;
	e->state = state;
	e->used_us = clock_now_us();
	snprintf(e->digest, sizeof(e->digest), "%s", digest);
	e->next = i->list;
	i->list = e;
	return e;
}

/* `why`: what takers are told. Its volume goes too. */
static void image_remove(struct image_volume *e, const char *why)
{
	struct imagevolumes *i = e->owner;
	struct image_volume **at = &i->list;
	struct taker *taker;

	while (*at && *at != e)
		at = &(*at)->next;
	if (*at)
		*at = e->next;
	if (e->volume && !i->hypervisor->ending)
		volumes_return(i->hypervisor->volumes, e->volume);
	while ((taker = e->takers)) {
		e->takers = taker->next;
		taker->done(NULL, why, taker->userdata);
		free(taker);
	}
	free(e);
}

static void image_fail(struct image_volume *e, const char *why)
{
	log_warning("the image %.12s is not on a volume: %s", e->digest, why);
	image_remove(e, why);
}

/* All who have waited get theirs. */
static void image_serve(struct image_volume *e)
{
	struct taker *taker;

	while ((taker = e->takers)) {
		struct volume *volume = NULL;
		int r = volumes_take_snapshot(e->owner->hypervisor->volumes, e->volume, taker->done,
			taker->userdata, &volume);

		e->takers = taker->next;
		if (r != 0)
			taker->done(volume, r < 0 ? "the node's daemon is out of memory" : NULL,
				taker->userdata);
		free(taker);
	}
}

static void on_marked(struct volume *volume, const char *why, void *userdata)
{
	struct image_volume *e = userdata;

	if (!volume) {
		image_fail(e, why);
		return;
	}
	e->state = IMAGE_READY;
	e->used_us = clock_now_us();
	log_info("the image %.12s is on a volume", e->digest);
	image_serve(e);
}

static void on_work(struct worker_job *job, bool cancelled);

static void image_work(struct image_volume *e, enum image_state state, int fd)
{
	struct hypervisor *h = e->owner->hypervisor;

	e->state = state;
	e->writer = (struct imagewriter){
		.job = {.work = imagewriter_work, .done = on_work},
		.store = h->mover_store,
		.directory = h->instances,
		.uid = h->servant ? servant_uid(h->servant) : 0,
		.gid = h->servant ? servant_gid(h->servant) : 0,
		.ending = &e->owner->ending,
		.fd = fd,
	};
	memcpy(e->writer.digest, e->digest, sizeof(e->digest));
	worker_add(h->mover, &e->writer.job);
}

static void on_made(struct volume *volume, const char *why, void *userdata)
{
	struct image_volume *e = userdata;

	e->volume = volume;
	if (volume)
		image_work(e, IMAGE_WRITING, volume_fd(volume));
	else
		image_fail(e, why);
}

static void on_work(struct worker_job *job, bool cancelled)
{
	struct image_volume *e = (struct image_volume *)(void *)job;
	struct volumes *volumes = e->owner->hypervisor->volumes;

	if (cancelled || e->writer.result < 0) {
		image_fail(e, cancelled ? "the daemon ends" : e->writer.err.text);
	} else if (e->state == IMAGE_WRITING) {
		e->state = IMAGE_MARKING;
		volumes_mark(volumes, e->volume, e->digest, on_marked, e);
	} else {
		e->state = IMAGE_MAKING;
		if (volumes_make_bare(volumes, e->writer.disk_bytes, on_made, e) < 0)
			image_fail(e, "the node's daemon is out of memory");
	}
}

static void image_start(struct image_volume *e)
{
	log_info("the image %.12s is written to a volume", e->digest);
	image_work(e, IMAGE_LOOKING, -1);
}

/* Returns the one of this digest, which is on its way if it was not there, or NULL. */
static struct image_volume *image_want(struct imagevolumes *i, const char *digest)
{
	struct image_volume *e = image_find(i, digest);

	if (!e) {
		e = image_add(i, digest, IMAGE_ASKED);
		if (e && i->listed)
			image_start(e);
	}
	if (e)
		e->used_us = clock_now_us();
	return e;
}

int imagevolumes_take(struct imagevolumes *i, const char *digest, volume_fn done, void *userdata,
	struct volume **ret)
{
	struct image_volume *e = image_want(i, digest);
	struct taker *taker;

	if (e && e->state == IMAGE_READY)
		return volumes_take_snapshot(
			i->hypervisor->volumes, e->volume, done, userdata, ret);
	taker = e ? calloc(1, sizeof(*taker)) : NULL;
	if (!taker)
		return -ENOMEM;
	*taker = (struct taker){done, userdata, e->takers};
	e->takers = taker;
	return 0;
}

void imagevolumes_prepare(struct imagevolumes *i, const char *digest)
{
	if (i && !image_find(i, digest))
		image_want(i, digest);
}

bool imagevolumes_must_write(const struct imagevolumes *i, const char *digest)
{
	const struct image_volume *e = image_find(i, digest);

	return i->listed && (!e || e->state != IMAGE_READY);
}

void imagevolumes_cancel(struct imagevolumes *i, const void *userdata)
{
	for (struct image_volume *e = i ? i->list : NULL; e; e = e->next)
		for (struct taker **at = &e->takers; *at;) {
			struct taker *taker = *at;

			if (taker->userdata != userdata) {
				at = &taker->next;
				continue;
			}
			*at = taker->next;
			free(taker);
		}
}

static bool is_idle(const struct image_volume *e)
{
	return e->state == IMAGE_READY && !e->takers &&
	       !volumes_is_used(e->owner->hypervisor->volumes, e->volume);
}

/* The image may be there still, but nobody may start from it any more. */
static bool is_revoked(const struct image_volume *e)
{
	const struct catalogue *c = admission_catalogue(e->owner->hypervisor->admission);
	const struct catalogue_image *image = c ? catalogue_find(c, e->digest) : NULL;

	return image && !catalogue_is_startable(image, timestamp_now_us());
}

static void remove_gone(struct imagevolumes *i)
{
	struct image_volume *next;

	for (struct image_volume *e = i->list; e; e = next) {
		next = e->next;
		if (!is_idle(e) || (!e->gone && !is_revoked(e)))
			continue;
		log_info("the volume with the image %.12s is removed: %s", e->digest,
			e->gone ? "the node does not have the image any more"
				: "nobody may start from the image any more");
		image_remove(e, NULL);
	}
}

static void look_work(struct worker_job *job)
{
	struct look *l = (struct look *)(void *)job;

	for (size_t i = 0; i < l->count; i++) {
		struct image *image AUTO(image_freep) = NULL;
		struct error err;

		l->images[i].gone =
			store_find(l->store, l->images[i].digest, &image, &err) == -ENOENT;
	}
}

static void on_looked(struct worker_job *job, bool cancelled)
{
	struct look *l = (struct look *)(void *)job;
	struct imagevolumes *i = l->owner;

	i->look = NULL;
	for (size_t n = 0; n < l->count && !cancelled; n++) {
		struct image_volume *e = image_find(i, l->images[n].digest);

		if (e)
			e->gone = l->images[n].gone;
	}
	free(l);
	if (!cancelled)
		remove_gone(i);
}

static void look(struct imagevolumes *i)
{
	struct look *l;
	size_t count = 0;

	for (const struct image_volume *e = i->list; e; e = e->next)
		count++;
	l = count == 0 || i->look ? NULL : calloc(1, sizeof(*l) + count * sizeof(l->images[0]));
	if (!l)
		return;
	l->job = (struct worker_job){.work = look_work, .done = on_looked};
	l->owner = i;
	l->store = i->hypervisor->mover_store;
	for (const struct image_volume *e = i->list; e; e = e->next)
		memcpy(l->images[l->count++].digest, e->digest, sizeof(e->digest));
	i->look = l;
	worker_add(i->hypervisor->mover, &l->job);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	look(userdata);
	sd_event_source_set_time_relative(source, SWEEP_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Of two on the same image, one was made by a daemon that did not know of the other. */
static void on_image(struct volume *volume, const char *digest, void *userdata)
{
	struct imagevolumes *i = userdata;
	struct image_volume *e = image_find(i, digest);

	if (!e)
		e = image_add(i, digest, IMAGE_ASKED);
	if (!e || e->state != IMAGE_ASKED) {
		volumes_return(i->hypervisor->volumes, volume);
		return;
	}
	e->state = IMAGE_READY;
	e->volume = volume;
	image_serve(e);
}

static void on_listed(void *userdata)
{
	struct imagevolumes *i = userdata;

	i->listed = true;
	for (struct image_volume *e = i->list; e; e = e->next)
		if (e->state == IMAGE_ASKED)
			image_start(e);
	look(i);
}

/* The one that was not used for the longest time makes room for the next VM. */
static void on_full(void *userdata)
{
	struct imagevolumes *i = userdata;
	struct image_volume *oldest = NULL;

	for (struct image_volume *e = i->list; e; e = e->next)
		if (is_idle(e) && (!oldest || e->used_us < oldest->used_us))
			oldest = e;
	if (!oldest)
		return;
	log_info("the volume with the image %.12s is removed: the thin pool is full",
		oldest->digest);
	image_remove(oldest, NULL);
}

int imagevolumes_new(struct hypervisor *h, struct imagevolumes **ret, struct error *err)
{
	struct imagevolumes *i = calloc(1, sizeof(*i));
	const struct volumes_events events = {on_image, on_listed, on_full, i};

	*ret = i;
	if (!i || sd_event_add_time_relative(
			  h->event, &i->tick, CLOCK_MONOTONIC, SWEEP_US, 0, on_tick, i) < 0)
		return fail(err, -ENOMEM, "out of memory");
	i->hypervisor = h;
	volumes_watch(h->volumes, &events);
	return 0;
}

void imagevolumes_stop(struct imagevolumes *i)
{
	if (i)
		__atomic_store_n(&i->ending, true, __ATOMIC_RELAXED);
}

struct imagevolumes *imagevolumes_free(struct imagevolumes *i)
{
	if (!i)
		return NULL;
	while (i->list)
		image_remove(i->list, "the daemon ends");
	sd_event_source_disable_unref(i->tick);
	free(i);
	return NULL;
}
