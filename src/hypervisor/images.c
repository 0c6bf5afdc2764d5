#include "hypervisor/images.h"

#include <errno.h>

#include "hypervisor/cache.h"
#include "hypervisor/client.h"
#include "hypervisor/listener.h"
#include "hypervisor/porter.h"
#include "hypervisor/pull.h"

/* Those that are to be at hand before anybody asks for them. */
static void want_staged(struct hypervisor *h, const struct catalogue *c)
{
	for (size_t i = 0; i < c->staged_count; i++) {
		const struct catalogue_image *image = catalogue_find(c, c->staged[i]);

		if (image && !cache_has(h->cache, image->digest))
			pulls_want_soon(h->pulls, image, PULL_STAGED);
		else if (image && streq(h->settings.root, "lvm"))
			imagevolumes_prepare(h->imagevolumes, image->digest);
	}
}

static const struct catalogue_tag *find_same(
	const struct catalogue *c, const struct catalogue_tag *tag)
{
	for (size_t i = 0; i < c->tag_count; i++)
		if (streq(c->tags[i].name, tag->name) && streq(c->tags[i].tag, tag->tag))
			return &c->tags[i];
	return NULL;
}

/* Who has had the image that a tag stood for wants the one that it stands for now. */
static void want_moved(
	struct hypervisor *h, const struct catalogue *before, const struct catalogue *now)
{
	for (size_t i = 0; i < before->tag_count; i++) {
		const struct catalogue_tag *old = &before->tags[i], *fresh = find_same(now, old);
		const struct catalogue_image *image =
			fresh ? catalogue_find(now, fresh->digest) : NULL;

		if (image && !streq(old->digest, image->digest) &&
			cache_has(h->cache, old->digest) && !cache_has(h->cache, image->digest))
			pulls_want_soon(h->pulls, image, PULL_MOVED);
	}
}

static void on_catalogue(const struct catalogue *before, void *userdata)
{
	struct hypervisor *h = userdata;
	const struct catalogue *now = admission_catalogue(h->admission);

	pulls_follow(h->pulls);
	if (now && cache_is_ready(h->cache))
		want_staged(h, now);
	if (now && before)
		want_moved(h, before, now);
	cache_sweep(h->cache, 0);
	porter_note_change(h->porter);
}

static void on_cache(void *userdata)
{
	struct hypervisor *h = userdata;
	const struct catalogue *now = admission_catalogue(h->admission);

	if (now)
		want_staged(h, now);
	porter_note_change(h->porter);
}

static void on_work(void *userdata)
{
	const struct hypervisor *h = userdata;

	porter_note_change(h->porter);
}

static void on_arrived(void *userdata)
{
	const struct hypervisor *h = userdata;

	cache_sweep(h->cache, 0);
}

static void on_need(uint64_t bytes, void *userdata)
{
	const struct hypervisor *h = userdata;

	cache_sweep(h->cache, bytes);
}

struct use {
	const char *digest;
	bool found;
};

static void look_at(struct client *c, void *userdata)
{
	struct use *use = userdata;

	use->found |= streq(client_digest(c), use->digest);
}

static bool is_used(const char *digest, void *userdata)
{
	const struct hypervisor *h = userdata;
	struct use use = {.digest = digest};

	listener_each(h->listener, look_at, &use);
	return use.found;
}

static bool is_wanted(const char *digest, void *userdata)
{
	const struct hypervisor *h = userdata;

	return pulls_has(h->pulls, digest);
}

int images_open(struct hypervisor *h, struct error *err)
{
	const struct pulls_events pulls = {on_work, on_arrived, on_need, h};
	const struct cache_events cache = {is_used, is_wanted, on_cache, h};
	int r = worker_new(h->event, &h->mover, err);

	if (r == 0)
		r = store_open(h->state, true, &h->mover_store, err);
	if (r == 0)
		r = admission_new(&h->settings, h->state, &h->admission, err);
	if (r == 0)
		r = pulls_new(h->event, h->mover, h->mover_store, h->state, h->admission, &pulls,
			&h->pulls, err);
	if (r == 0)
		r = cache_new(h->event, &h->settings, h->state, h->mover, h->mover_store,
			h->admission, &cache, &h->cache, err);
	if (r == 0)
		r = porter_new(h, &h->porter, err);
	if (r == 0)
		admission_watch(h->admission, on_catalogue, h);
	return r;
}

void images_stop(struct hypervisor *h)
{
	h->mover = worker_free(h->mover);
}

void images_close(struct hypervisor *h)
{
	porter_free(h->porter);
	pulls_free(h->pulls);
	cache_free(h->cache);
	admission_free(h->admission);
	store_free(h->mover_store);
}

json_t *images_to_json(const struct hypervisor *h, uid_t uid, bool all)
{
	json_t *images = admission_to_json(h->admission);

	if (!images)
		return NULL;
	json_object_set_new(images, "bytes", json_integer((json_int_t)cache_bytes(h->cache)));
	json_object_set_new(images, "porter", json_boolean(porter_is_running(h->porter)));
	json_object_set_new(images, "kept", cache_to_json(h->cache));
	json_object_set_new(images, "fetches", pulls_to_json(h->pulls));
	json_object_set_new(images, "refusals", admission_refusals_to_json(h->admission, uid, all));
	return images;
}
