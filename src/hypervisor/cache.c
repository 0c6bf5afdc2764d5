#include "hypervisor/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "hypervisor/pull_private.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/strv.h"
#include "lib/timestamp.h"

#define SECOND UINT64_C(1000000)

#define SWEEP_US (60 * SECOND)

/* Who has started from an old version may start another VM from it: jobs of one array. */
#define REPLACED_US (3600 * SECOND)

/* What has come of an image that nobody wants any more. */
#define PARTIAL_US (3600 * SECOND)

/* An answer must fit into a packet. */
#define SERVED_MAX 300
#define SHOWN_MAX  60
#define OWN_MAX    60

/* What is smaller is fetched sooner than it is looked through. */
#define OWN_BYTES_MIN (1024 * 1024)

/* An image that is here. */
struct cached {
	char digest[DIGEST_HEX_SIZE];
	uint64_t used_us, bytes;
	size_t part_count;
	struct {
		char digest[DIGEST_HEX_SIZE];
		uint64_t bytes;
		bool shared, indexed; /* with another image; it has an index */
	} parts[MANIFEST_PARTS_MAX];
};

/* What the thread has to do, and what it has found. */
struct cache_task {
	struct worker_job job; /* first */
	struct cache *cache;
	struct store *store;
	char *state;
	struct strv victims, wanted; /* digests: to go; parts whose halves stay */
	struct strv own;             /* parts of tagged images that no catalogue has brought */
	struct cached *found;
	size_t count;
	uint64_t fs_bytes, fs_used, need_bytes;
	int result;
	struct error err;
};

struct cache {
	const struct settings *settings;
	char *state;
	struct worker *worker;
	struct store *store;
	struct admission *admission;
	struct cache_events events;
	sd_event_source *tick;
	struct cached *items;
	size_t count;
	struct strv own;         /* blobs of images with a tag */
	struct cache_task *task; /* that is being done */
	uint64_t again_bytes;    /* for the next, which is wanted meanwhile */
	bool again;
	bool ready; /* it was looked */
};

static bool is_longer_unused(const struct cache_item *a, const struct cache_item *b)
{
	return !b || a->used_us < b->used_us;
}

static struct cache_item *find_oldest(struct cache_item *items, size_t count)
{
	struct cache_item *oldest = NULL;

	for (size_t i = 0; i < count; i++)
		if (!items[i].held && !items[i].goes && is_longer_unused(&items[i], oldest))
			oldest = &items[i];
	return oldest;
}

size_t cache_choose(struct cache_item *items, size_t count, uint64_t used, uint64_t high,
	uint64_t low, uint64_t now_us)
{
	bool full = used > high;
	struct cache_item *i;
	size_t gone = 0;

	for (i = items; i < items + count; i++) {
		bool old = i->replaced && i->used_us + REPLACED_US < now_us;

		i->goes = !i->held && (i->dead || old);
		if (i->goes)
			used -= MIN_OF(used, i->bytes);
		gone += i->goes;
	}
	while (full && used > low && (i = find_oldest(items, count))) {
		i->goes = true;
		used -= MIN_OF(used, i->bytes);
		gone++;
	}
	return gone;
}

static struct cache_task *task_free(struct cache_task *t)
{
	if (!t)
		return NULL;
	strv_done(&t->victims);
	strv_done(&t->wanted);
	strv_done(&t->own);
	free(t->found);
	free(t->state);
	free(t);
	return NULL;
}

static int add_found(const struct kept_image *image, void *userdata)
{
	struct cache_task *t = userdata;
	struct cached *more = realloc(t->found, (t->count + 1) * sizeof(*more)), *c;

	if (!more)
		return -ENOMEM;
	t->found = more;
	c = &more[t->count++];
	*c = (struct cached){.used_us = image->used_us};
	snprintf(c->digest, sizeof(c->digest), "%s", image->digest);
	c->part_count = image->manifest->part_count;
	for (size_t i = 0; i < c->part_count; i++) {
		autofree char *index = NULL;

		memcpy(c->parts[i].digest, image->manifest->parts[i].digest, DIGEST_HEX_SIZE);
		c->parts[i].bytes = image->part_bytes[i];
		index = pull_index_path(t->state, c->parts[i].digest);
		c->parts[i].indexed = index && access(index, F_OK) == 0;
	}
	return 0;
}

static bool is_listed(const struct strv *list, const char *digest)
{
	for (size_t i = 0; i < list->count; i++)
		if (strncmp(list->items[i], digest, DIGEST_HEX_SIZE - 1) == 0)
			return true;
	return false;
}

static bool is_found(const struct cache_task *t, const char *blob)
{
	for (size_t i = 0; i < t->count; i++)
		for (size_t j = 0; j < t->found[i].part_count; j++)
			if (streq(t->found[i].parts[j].digest, blob))
				return true;
	return false;
}

static void note_own(struct cache_task *t, const struct manifest *m)
{
	for (size_t i = 0; i < m->part_count && t->own.count < OWN_MAX; i++)
		if (m->parts[i].size >= OWN_BYTES_MIN && !is_found(t, m->parts[i].digest) &&
			!is_listed(&t->own, m->parts[i].digest))
			strv_add(&t->own, m->parts[i].digest);
}

/* What has a tag stays whatever goes, so it is nobody's. */
static int note_tagged(const struct image *image, void *userdata)
{
	struct cache_task *t = userdata;

	if (image->manifest)
		note_own(t, image->manifest);
	for (size_t i = 0; i < t->count && image->manifest; i++)
		for (size_t j = 0; j < t->found[i].part_count; j++)
			for (size_t k = 0; k < image->manifest->part_count; k++)
				t->found[i].parts[j].shared |= streq(t->found[i].parts[j].digest,
					image->manifest->parts[k].digest);
	return 0;
}

static void note_shared(struct cache_task *t)
{
	for (size_t i = 0; i < t->count; i++)
		for (size_t j = 0; j < t->found[i].part_count; j++)
			for (size_t k = 0; k < t->count; k++)
				for (size_t l = 0; k != i && l < t->found[k].part_count; l++)
					t->found[i].parts[j].shared |=
						streq(t->found[i].parts[j].digest,
							t->found[k].parts[l].digest);
	for (size_t i = 0; i < t->count; i++)
		for (size_t j = 0; j < t->found[i].part_count; j++)
			if (!t->found[i].parts[j].shared)
				t->found[i].bytes += t->found[i].parts[j].bytes;
}

/* What has come of images that nobody wants. */
static void sweep_partial(const struct cache_task *t)
{
	autofree char *path = path_format("%s/" PULL_DIRECTORY, t->state);
	DIR *directory = path ? opendir(path) : NULL;
	uint64_t now = timestamp_now_us();
	const struct dirent *entry;
	struct stat st;

	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' && !is_listed(&t->wanted, entry->d_name) &&
			fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			(uint64_t)st.st_mtim.tv_sec * SECOND + PARTIAL_US < now)
			unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory)
		closedir(directory);
}

static int remove_victims(struct cache_task *t)
{
	uint64_t files, bytes;
	int r = 0;

	for (size_t i = 0; i < t->victims.count && r == 0; i++)
		r = store_unkeep(t->store, t->victims.items[i], &t->err);
	if (r == 0 && t->victims.count > 0)
		r = store_collect(t->store, false, &files, &bytes, &t->err);
	return r;
}

static void task_work(struct worker_job *job)
{
	struct cache_task *t = (struct cache_task *)(void *)job;
	struct statvfs fs;

	t->result = remove_victims(t);
	if (t->result == 0)
		t->result = store_list_kept(t->store, add_found, t, &t->err);
	if (t->result == 0)
		t->result = store_list(t->store, note_tagged, t, &t->err);
	if (t->result < 0)
		return;
	note_shared(t);
	sweep_partial(t);
	if (statvfs(t->state, &fs) == 0) {
		t->fs_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree + fs.f_bavail) * fs.f_frsize;
		t->fs_used = (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
	}
}

static void on_task(struct worker_job *job, bool cancelled);

/* Takes `victims`. */
static void cache_start(struct cache *c, struct strv *victims, uint64_t need_bytes)
{
	struct cache_task *t = calloc(1, sizeof(*t));
	const struct catalogue *catalogue = admission_catalogue(c->admission);

	if (t)
		t->state = strdup(c->state);
	if (!t || !t->state) {
		strv_done(victims);
		task_free(t);
		return;
	}
	t->job = (struct worker_job){.work = task_work, .done = on_task};
	t->cache = c;
	t->store = c->store;
	t->need_bytes = need_bytes;
	t->victims = *victims;
	*victims = (struct strv){0};
	for (size_t i = 0; catalogue && i < catalogue->image_count; i++) {
		const struct catalogue_image *image = &catalogue->images[i];

		if (!c->events.is_wanted(image->digest, c->events.userdata))
			continue;
		strv_add(&t->wanted, image->digest);
		for (size_t j = 0; j < image->part_count; j++)
			strv_add(&t->wanted, image->parts[j].part.digest);
	}
	c->task = t;
	worker_add(c->worker, &t->job);
}

static bool is_pinned(const struct cache *c, const char *digest)
{
	const struct catalogue *catalogue = admission_catalogue(c->admission);
	const struct catalogue_image *image;

	for (char **i = c->settings->images_pinned; i && *i; i++) {
		if (streq(*i, digest))
			return true;
		if (catalogue_resolve(catalogue, *i, NULL, &image, NULL) > 0 &&
			streq(image->digest, digest))
			return true;
	}
	return false;
}

static bool is_staged(const struct catalogue *c, const char *digest)
{
	for (size_t i = 0; c && i < c->staged_count; i++)
		if (streq(c->staged[i], digest))
			return true;
	return false;
}

static struct cache_item judge(const struct cache *c, const struct cached *cached)
{
	const struct catalogue *catalogue = admission_catalogue(c->admission);
	const struct catalogue_image *image = catalogue_find(catalogue, cached->digest);
	struct cache_item item = {.bytes = cached->bytes, .used_us = cached->used_us};

	memcpy(item.digest, cached->digest, sizeof(item.digest));
	item.held = c->events.is_used(cached->digest, c->events.userdata) ||
		    c->events.is_wanted(cached->digest, c->events.userdata) ||
		    is_pinned(c, cached->digest) || is_staged(catalogue, cached->digest);
	/* Without a catalogue nothing is known. */
	item.dead = catalogue && (!image || !catalogue_is_startable(image, timestamp_now_us()));
	item.replaced = catalogue && !catalogue_find_tag(catalogue, cached->digest);
	return item;
}

/* The same measure for both: a share of the file system, or what the images have. */
static void measure(const struct cache *c, const struct cache_task *t, uint64_t *ret_used,
	uint64_t *ret_high, uint64_t *ret_low)
{
	uint64_t percent, bytes, low_percent, low_bytes;

	settings_parse_water(c->settings->images_high_water, &percent, &bytes, NULL);
	settings_parse_water(c->settings->images_low_water, &low_percent, &low_bytes, NULL);
	*ret_used = percent > 0 ? t->fs_used : cache_bytes(c);
	*ret_used += t->need_bytes;
	*ret_high = percent > 0 ? t->fs_bytes / 100 * percent : bytes;
	*ret_low = low_percent > 0 ? (percent > 0 ? t->fs_bytes : bytes) / 100 * low_percent
				   : low_bytes;
	*ret_low = MIN_OF(*ret_low, *ret_high);
}

static void log_victims(const struct cache_item *items, size_t count)
{
	char size[FORMAT_MAX];

	for (size_t i = 0; i < count; i++)
		if (items[i].goes)
			log_info("the image %.12s is let go (%s): %s", items[i].digest,
				format_size(items[i].bytes, size),
				items[i].dead       ? "nobody may start from it any more"
				: items[i].replaced ? "another one has taken its place"
						    : "it was not used for the longest time");
}

static void choose(struct cache *c, const struct cache_task *t)
{
	struct cache_item *items = calloc(c->count + 1, sizeof(*items));
	uint64_t used, high, low;
	struct strv victims = {0};

	if (!items)
		return;
	for (size_t i = 0; i < c->count; i++)
		items[i] = judge(c, &c->items[i]);
	measure(c, t, &used, &high, &low);
	if (cache_choose(items, c->count, used, high, low, timestamp_now_us()) > 0) {
		log_victims(items, c->count);
		for (size_t i = 0; i < c->count; i++)
			if (items[i].goes)
				strv_add(&victims, items[i].digest);
		cache_start(c, &victims, t->need_bytes);
	}
	free(items);
}

/* Returns true if there are others than before. */
static bool take_found(struct cache *c, struct cache_task *t)
{
	bool same = c->ready && t->count == c->count;

	for (size_t i = 0; i < t->count && same; i++)
		same = streq(c->items[i].digest, t->found[i].digest);
	same = same && t->own.count == c->own.count;
	for (size_t i = 0; i < t->own.count && same; i++)
		same = streq(c->own.items[i], t->own.items[i]);
	strv_done(&c->own);
	c->own = t->own;
	t->own = (struct strv){0};
	free(c->items);
	c->items = TAKE_PTR(t->found);
	c->count = t->count;
	c->ready = true;
	return !same;
}

static void on_task(struct worker_job *job, bool cancelled)
{
	struct cache_task *t = (struct cache_task *)(void *)job;
	struct cache *c = t->cache;

	c->task = NULL;
	if (!cancelled && t->result < 0)
		log_warning("the node's images are not looked at: %s, trying again", t->err.text);
	if (!cancelled && t->result == 0) {
		bool changed = take_found(c, t);

		/* Victims have gone: nothing else goes before it is measured again. */
		if (t->victims.count == 0)
			choose(c, t);
		if (changed)
			c->events.changed(c->events.userdata);
	}
	task_free(t);
	if (!cancelled && !c->task && c->again)
		cache_sweep(c, 0);
}

void cache_sweep(struct cache *c, uint64_t need_bytes)
{
	struct strv none = {0};

	c->again_bytes += need_bytes;
	c->again = c->task != NULL;
	if (c->task)
		return;
	need_bytes = c->again_bytes;
	c->again_bytes = 0;
	cache_start(c, &none, need_bytes);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	cache_sweep(userdata, 0);
	sd_event_source_set_time_relative(source, SWEEP_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int cache_new(sd_event *event, const struct settings *settings, const char *state,
	struct worker *worker, struct store *store, struct admission *admission,
	const struct cache_events *events, struct cache **ret, struct error *err)
{
	struct cache *c AUTO(cache_freep) = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return fail(err, -ENOMEM, "out of memory");
	c->settings = settings;
	c->worker = worker;
	c->store = store;
	c->admission = admission;
	c->events = *events;
	c->state = strdup(state);
	if (!c->state)
		return fail(err, -ENOMEM, "out of memory");
	r = sd_event_add_time_relative(event, &c->tick, CLOCK_MONOTONIC, 0, 0, on_tick, c);
	if (r < 0)
		return fail_errno(err, r, "cannot set up the event loop");
	*ret = TAKE_PTR(c);
	return 0;
}

struct cache *cache_free(struct cache *c)
{
	if (!c)
		return NULL;
	sd_event_source_disable_unref(c->tick);
	strv_done(&c->own);
	free(c->items);
	free(c->state);
	free(c);
	return NULL;
}

static struct cached *find(const struct cache *c, const char *digest)
{
	for (size_t i = 0; i < c->count; i++)
		if (streq(c->items[i].digest, digest))
			return &c->items[i];
	return NULL;
}

bool cache_is_removing(const struct cache *c, const char *digest)
{
	return c->task && is_listed(&c->task->victims, digest);
}

bool cache_has(const struct cache *c, const char *digest)
{
	return find(c, digest) != NULL;
}

void cache_note_use(struct cache *c, const char *digest)
{
	struct cached *cached = find(c, digest);

	if (cached)
		cached->used_us = timestamp_now_us();
}

bool cache_is_ready(const struct cache *c)
{
	return c->ready;
}

json_t *cache_serve_to_json(const struct cache *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->count && i < SERVED_MAX; i++) {
		const struct cached *cached = &c->items[i];
		json_t *blobs;
		bool whole = !cache_is_removing(c, cached->digest);

		for (size_t j = 0; j < cached->part_count; j++)
			whole &= cached->parts[j].indexed;
		if (!whole)
			continue;
		blobs = json_array();
		for (size_t j = 0; j < cached->part_count; j++)
			json_array_append_new(blobs, json_string(cached->parts[j].digest));
		json_array_append_new(
			list, json_pack("{s:s, s:o}", "digest", cached->digest, "blobs", blobs));
	}
	return list;
}

static bool has_blob(const struct cache *c, const char *blob)
{
	for (size_t i = 0; i < c->count; i++)
		for (size_t j = 0; j < c->items[i].part_count; j++)
			if (streq(c->items[i].parts[j].digest, blob))
				return true;
	return false;
}

int cache_open_part(const struct cache *c, const char *blob, int *ret_fd, int *ret_index_fd)
{
	autofree char *path = path_format("%s/blobs/%s", c->state, blob);
	autofree char *index = pull_index_path(c->state, blob);
	autoclose int fd = -1, index_fd = -1;

	if (!has_blob(c, blob) || !path || !index)
		return -ENOENT;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	index_fd = open(index, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || index_fd < 0)
		return -ENOENT;
	*ret_fd = TAKE_FD(fd);
	*ret_index_fd = TAKE_FD(index_fd);
	return 0;
}

json_t *cache_own_to_json(const struct cache *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->own.count; i++)
		json_array_append_new(list, json_string(c->own.items[i]));
	return list;
}

int cache_open_own(const struct cache *c, const char *blob)
{
	autofree char *path = path_format("%s/blobs/%s", c->state, blob);
	autoclose int fd = -1;
	struct stat st;

	if (!is_listed(&c->own, blob) || !path)
		return -ENOENT;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & S_IROTH))
		return -ENOENT;
	return TAKE_FD(fd);
}

uint64_t cache_bytes(const struct cache *c)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->count; i++)
		bytes += c->items[i].bytes;
	return bytes;
}

json_t *cache_to_json(const struct cache *c)
{
	const struct catalogue *catalogue = admission_catalogue(c->admission);
	json_t *list = json_array();

	for (size_t i = 0; i < c->count && i < SHOWN_MAX; i++) {
		const struct cached *cached = &c->items[i];
		const struct catalogue_image *image = catalogue_find(catalogue, cached->digest);
		const struct catalogue_tag *tag = catalogue_find_tag(catalogue, cached->digest);
		char used[TIMESTAMP_TEXT_SIZE];

		json_array_append_new(
			list, json_pack("{s:s, s:s*, s:s*, s:s, s:I, s:s, s:b, s:b}", "digest",
				      cached->digest, "name", image ? image->name : NULL, "tag",
				      tag ? tag->tag : NULL, "state",
				      image ? catalogue_state_name(image->state) : "unknown",
				      "bytes", (json_int_t)cached->bytes, "last_used",
				      timestamp_format(cached->used_us, used), "pinned",
				      is_pinned(c, cached->digest), "staged",
				      is_staged(catalogue, cached->digest)));
	}
	return list;
}
