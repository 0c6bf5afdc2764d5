#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "hypervisor/pull_private.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/timestamp.h"

#define SECOND UINT64_C(1000000)

/* An answer must fit into a packet. */
#define WORK_MAX  100
#define SHOWN_MAX 30

/* How often those who wait are told how far it is. */
#define TICK_US SECOND

/* What nobody waits for is tried again after this. */
#define RETRY_US (60 * SECOND)

/* Nothing has come for so long: something is wrong that nobody has told of. */
#define STALL_US (300 * SECOND)

/* How often it is looked whether there is room by now, a second apart. */
#define LOOKS_MAX 5

/* A failure is told to people for so long. */
#define TELL_US (600 * SECOND)

struct pulls {
	sd_event *event;
	sd_event_source *tick;
	struct worker *worker;
	struct store *store;
	char *state;
	struct admission *admission;
	struct pulls_events events;
	struct pull *first;
};

static void pull_free(struct pull *pull)
{
	free(pull->manifest);
	free(pull);
}

static void waiter_leave(struct pull_waiter *w)
{
	struct pull_waiter **at = w->pull ? &w->pull->waiters : NULL;

	while (at && *at && *at != w)
		at = &(*at)->next;
	if (at && *at)
		*at = w->next;
	w->pull = NULL;
	w->next = NULL;
}

/* All who wait hear the end. Whoever is told may do anything, also want it again. */
static void pull_tell_end(struct pull *pull, const char *why)
{
	struct pull_waiter *list = TAKE_PTR(pull->waiters);

	for (struct pull_waiter *w = list; w; w = w->next)
		w->pull = NULL;
	while (list) {
		struct pull_waiter *w = list;

		list = w->next;
		w->next = NULL;
		w->done(why, w->userdata);
	}
}

static void pull_unlink(struct pull *pull)
{
	struct pull **at = &pull->pulls->first;

	while (*at && *at != pull)
		at = &(*at)->next;
	if (*at)
		*at = pull->next;
}

/* Ends it now, or with the task that is being done for it. */
static void pull_end(struct pull *pull)
{
	pull_unlink(pull);
	pull->ending = true;
	if (!pull->busy)
		pull_free(pull);
}

static void work_changed(struct pulls *p)
{
	p->events.work_changed(p->events.userdata);
}

static void pull_fail(struct pull *pull, const char *why)
{
	char text[PULL_REASON_MAX];

	snprintf(text, sizeof(text), "%s", why);
	log_warning("the image '%s' (%.12s) is not fetched: %s", pull->called, pull->digest, text);
	memcpy(pull->failure, text, sizeof(text));
	pull->state = PULL_FAILED;
	pull->retry_us = clock_now_us() + RETRY_US;
	work_changed(pull->pulls);
	pull_tell_end(pull, text);
}

static void on_task(struct worker_job *job, bool cancelled);

static struct pull_task *task_new(struct pull *pull, enum pull_task_kind kind)
{
	struct pull_task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->job = (struct worker_job){.work = pull_task_work, .done = on_task};
	t->kind = kind;
	t->pull = pull;
	t->store = pull->pulls->store;
	t->state = strdup(pull->pulls->state);
	t->manifest = kind == PULL_TAKE ? strdup(pull->manifest) : NULL;
	memcpy(t->digest, pull->digest, sizeof(t->digest));
	memcpy(t->parts, pull->parts, sizeof(t->parts));
	t->part_count = pull->part_count;
	t->is_private = pull->is_private;
	if (t->state && (kind != PULL_TAKE || t->manifest))
		return t;
	return pull_task_free(t);
}

static int task_add(struct pull *pull, struct pull_task *t)
{
	if (!t)
		return -ENOMEM;
	pull->busy = true;
	worker_add(pull->pulls->worker, &t->job);
	return 0;
}

static void pull_look_at_disk(struct pull *pull)
{
	if (task_add(pull, task_new(pull, PULL_LOOK)) < 0)
		pull_fail(pull, "the node's daemon is out of memory");
}

static void pull_start(struct pull *pull)
{
	struct pulls *p = pull->pulls;
	uint64_t bytes = 0;

	pull->state = PULL_LOOKING;
	pull->since_us = pull->moved_us = clock_now_us();
	pull->failure[0] = '\0';
	pull->progress = (struct pull_progress){0};
	for (size_t i = 0; i < pull->part_count; i++)
		bytes += pull->parts[i].part.size;
	pull->progress.total = bytes;
	pull->looks = 0;
	p->events.need_room(bytes, p->events.userdata);
	pull_look_at_disk(pull);
}

static bool is_complete(const struct pull *pull)
{
	bool all = pull->manifest;

	for (size_t i = 0; i < pull->part_count; i++)
		all &= pull->part_states[i] == PULL_PART_READY;
	return all;
}

static void pull_go_on(struct pull *pull)
{
	if (!is_complete(pull)) {
		pull->state = PULL_FETCHING;
		work_changed(pull->pulls);
	} else {
		pull->state = PULL_TAKING;
		if (task_add(pull, task_new(pull, PULL_TAKE)) < 0)
			pull_fail(pull, "the node's daemon is out of memory");
	}
}

/* Does the manifest say what the catalogue says? */
static int check_manifest(
	const struct pull *pull, const char *text, size_t length, struct error *err)
{
	struct manifest *m AUTO(manifest_freep) = NULL;
	char is[DIGEST_HEX_SIZE];
	int r = digest_bytes(text, length, is);

	if (r == 0 && !streq(is, pull->digest))
		r = fail(
			err, -EBADMSG, "this is not the manifest of the image %.12s", pull->digest);
	if (r == 0)
		r = manifest_parse(text, length, &m, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < m->part_count; i++) {
		bool found = false;

		for (size_t j = 0; j < pull->part_count; j++)
			found |= streq(m->parts[i].digest, pull->parts[j].part.digest) &&
				 m->parts[i].size == pull->parts[j].part.size;
		if (!found)
			return fail(err, -EBADMSG,
				"the catalogue does not have a part of the image, %.12s; it was "
				"published wrongly, and has to be published again",
				m->parts[i].digest);
	}
	return 0;
}

/* Others may just be going, to make room. */
static void pull_wait_for_room(struct pull *pull, const struct pull_task *t)
{
	char has[FORMAT_MAX], needs[FORMAT_MAX], why[PULL_REASON_MAX];

	if (pull->looks++ < LOOKS_MAX)
		return; /* the tick looks again */
	snprintf(why, sizeof(why),
		"it needs %s, and %s are left for images on this node; ask its administrator to make "
		"room, or to lower [images] high_water",
		format_size(t->wanted_bytes, needs), format_size(t->free_bytes, has));
	pull_fail(pull, why);
}

static void on_looked(struct pull *pull, struct pull_task *t)
{
	struct error err = {0};

	if (t->manifest && check_manifest(pull, t->manifest, strlen(t->manifest), &err) < 0) {
		pull_fail(pull, err.text);
		return;
	}
	free(pull->manifest);
	pull->manifest = TAKE_PTR(t->manifest);
	for (size_t i = 0; i < pull->part_count; i++)
		pull->part_states[i] = t->ready[i] ? PULL_PART_READY : PULL_PART_WANTED;
	if (t->wanted_bytes > t->free_bytes)
		pull_wait_for_room(pull, t);
	else
		pull_go_on(pull);
}

static void on_taken(struct pull *pull, const struct pull_task *t)
{
	struct pulls *p = pull->pulls;
	char took[FORMAT_MAX];

	if (t->result == -ENOENT) { /* what was in the store has been let go meanwhile */
		pull_start(pull);
		return;
	}
	if (t->result < 0) {
		pull_fail(pull, t->err.text);
		return;
	}
	log_info("the image '%s' (%.12s) is on this node after %s", pull->called, pull->digest,
		format_duration(clock_now_us() - pull->since_us, took));
	pull_unlink(pull);
	p->events.arrived(p->events.userdata);
	work_changed(p);
	pull_tell_end(pull, NULL);
	pull_free(pull);
}

/* Versions of an image have parts in common: what has come for one is there for all. */
static void share_part(struct pulls *p, const char *blob)
{
	for (struct pull *pull = p->first; pull; pull = pull->next) {
		bool news = false;

		for (size_t i = 0; i < pull->part_count; i++)
			if (pull->part_states[i] == PULL_PART_WANTED &&
				streq(pull->parts[i].part.digest, blob)) {
				pull->part_states[i] = PULL_PART_READY;
				news = true;
			}
		if (news && pull->state == PULL_FETCHING && !pull->busy && is_complete(pull))
			pull_go_on(pull);
	}
}

static void on_checked(struct pull *pull, struct pull_task *t)
{
	pull->part_states[t->part] = t->result == 0 ? PULL_PART_READY : PULL_PART_WANTED;
	if (t->result == 0)
		share_part(pull->pulls, t->parts[t->part].part.digest);
	t->done(t->result < 0 ? t->err.text : NULL, t->userdata);
	if (t->result == -EBADMSG)
		pull_fail(pull, t->err.text);
	else if (pull->state == PULL_FETCHING)
		pull_go_on(pull);
}

static void on_task(struct worker_job *job, bool cancelled)
{
	struct pull_task *t = (struct pull_task *)(void *)job;
	struct pull *pull = t->pull;

	pull->busy = false;
	if (cancelled || pull->ending) {
		if (t->kind == PULL_CHECK)
			t->done("the image is not wanted any more", t->userdata);
		if (pull->ending)
			pull_free(pull);
	} else if (t->kind == PULL_LOOK) {
		on_looked(pull, t);
	} else if (t->kind == PULL_CHECK) {
		on_checked(pull, t);
	} else {
		on_taken(pull, t);
	}
	pull_task_free(t);
}

static struct pull *find(const struct pulls *p, const char *digest)
{
	struct pull *pull = p->first;

	while (pull && !streq(pull->digest, digest))
		pull = pull->next;
	return pull;
}

static struct pull *pull_new(
	struct pulls *p, const struct catalogue_image *image, const char *called)
{
	struct pull *pull = calloc(1, sizeof(*pull)), **end = &p->first;

	if (!pull)
		return NULL;
	pull->pulls = p;
	memcpy(pull->digest, image->digest, sizeof(pull->digest));
	snprintf(pull->called, sizeof(pull->called), "%s", called);
	pull->is_private = image->is_private;
	for (size_t i = 0; i < image->part_count; i++)
		pull->parts[i] = image->parts[i];
	pull->part_count = image->part_count;
	while (*end)
		end = &(*end)->next;
	*end = pull;
	return pull;
}

int pulls_want(struct pulls *p, const struct catalogue_image *image, const char *called,
	struct pull_waiter *waiter)
{
	struct pull *pull = find(p, image->digest);
	bool fresh = !pull;

	if (fresh)
		pull = pull_new(p, image, called);
	if (!pull)
		return -ENOMEM;
	waiter->pull = pull;
	waiter->said[0] = '\0';
	waiter->next = pull->waiters;
	pull->waiters = waiter;
	if (fresh || (pull->state == PULL_FAILED && !pull->busy))
		pull_start(pull);
	else
		work_changed(p); /* it is more urgent now */
	return 0;
}

int pulls_want_soon(struct pulls *p, const struct catalogue_image *image, enum pull_cause cause)
{
	struct pull *pull = find(p, image->digest);
	const struct catalogue_tag *tag =
		catalogue_find_tag(admission_catalogue(p->admission), image->digest);
	char called[160];

	snprintf(
		called, sizeof(called), "%s%s%s", image->name, tag ? ":" : "", tag ? tag->tag : "");
	if (!pull) {
		pull = pull_new(p, image, called);
		if (!pull)
			return -ENOMEM;
		pull_start(pull);
	}
	pull->soon |= cause;
	return 0;
}

void pulls_forget(struct pulls *p, struct pull_waiter *waiter)
{
	bool waited = waiter->pull;

	waiter_leave(waiter);
	if (waited)
		work_changed(p);
}

static bool is_wanted(const struct pull *pull)
{
	return pull->waiters || pull->soon;
}

/* May anybody start from it now? */
static int judge(const struct pull *pull, struct error *err)
{
	const struct catalogue_image *image =
		catalogue_find(admission_catalogue(pull->pulls->admission), pull->digest);

	if (!image)
		return fail(err, -EPERM, "the site's catalogue does not have it any more");
	return catalogue_decide(image, pull->called, image->owner, timestamp_now_us(), err);
}

void pulls_follow(struct pulls *p)
{
	struct pull *next;

	for (struct pull *pull = p->first; pull; pull = next) {
		struct error err = {0};

		next = pull->next;
		pull->soon &= ~(unsigned int)PULL_STAGED; /* who still wants it says so again */
		if (!catalogue_find_tag(admission_catalogue(p->admission), pull->digest))
			pull->soon = 0;
		if (judge(pull, &err) == 0)
			continue;
		pull_unlink(pull);
		pull_tell_end(pull, err.text);
		pull_end(pull);
		next = p->first;
	}
	work_changed(p);
}

void pulls_fail_all(struct pulls *p, const char *why)
{
	for (struct pull *pull = p->first; pull; pull = pull->next)
		if (pull->state == PULL_FETCHING && !pull->busy && pull->waiters)
			pull_fail(pull, why);
}

bool pulls_has(const struct pulls *p, const char *digest)
{
	return find(p, digest);
}

bool pulls_are_wanted(const struct pulls *p)
{
	for (const struct pull *pull = p->first; pull; pull = pull->next)
		if (pull->state == PULL_FETCHING && is_wanted(pull))
			return true;
	return false;
}

static int add_work(const struct pull *pull, json_t *list)
{
	json_t *parts = json_array();

	for (size_t i = 0; i < pull->part_count; i++) {
		const struct catalogue_part *part = &pull->parts[i];

		if (pull->part_states[i] == PULL_PART_WANTED)
			json_array_append_new(
				parts, json_pack("{s:s, s:s, s:I, s:s}", "kind",
					       part->part.kind == IMAGE_DISK     ? "disk"
					       : part->part.kind == IMAGE_KERNEL ? "kernel"
										 : "initrd",
					       "digest", part->part.digest, "size",
					       (json_int_t)part->part.size, "index", part->index));
	}
	return json_array_append_new(
		list, json_pack("{s:s, s:o, s:b}", "digest", pull->digest, "parts", parts,
			      "manifest", pull->manifest == NULL));
}

json_t *pulls_work_to_json(const struct pulls *p)
{
	json_t *list = json_array();

	for (int soon = 0; soon < 2; soon++)
		for (const struct pull *pull = p->first; pull; pull = pull->next)
			if (pull->state == PULL_FETCHING && json_array_size(list) < WORK_MAX &&
				(soon ? !pull->waiters && pull->soon : pull->waiters != NULL))
				add_work(pull, list);
	return list;
}

/* The image that wnodes-porter speaks of, if it may. */
static struct pull *find_fetched(struct pulls *p, const char *digest, struct error *err)
{
	struct pull *pull = find(p, digest);

	if (pull && pull->state == PULL_FETCHING)
		return pull;
	fail(err, -ENOENT, "the image %.12s is not to be fetched", digest);
	return NULL;
}

static int find_part(const struct pull *pull, const char *blob, size_t *ret, struct error *err)
{
	for (size_t i = 0; i < pull->part_count; i++)
		if (streq(pull->parts[i].part.digest, blob) &&
			pull->part_states[i] == PULL_PART_WANTED) {
			*ret = i;
			return 0;
		}
	return fail(err, -ENOENT, "the part %.12s is not to be fetched", blob);
}

int pulls_take_manifest(struct pulls *p, const char *digest, const char *text, struct error *err)
{
	struct pull *pull = find_fetched(p, digest, err);
	autofree char *path = pull_path(p->state, digest, ".manifest");
	int r = pull ? check_manifest(pull, text, strlen(text), err) : -ENOENT;

	if (r < 0 || pull->manifest)
		return r;
	pull->manifest = strdup(text);
	if (!pull->manifest || !path)
		return fail(err, -ENOMEM, "out of memory");
	/* For the next daemon; if it is lost, it is fetched again. */
	(void)file_replace_soon(path, text, strlen(text), 0600);
	pull->moved_us = clock_now_us();
	if (!pull->busy && is_complete(pull))
		pull_go_on(pull);
	return 0;
}

void pull_files_done(struct pull_files *f)
{
	base_close(f->partial_fd);
	base_close(f->have_fd);
	base_close(f->index_fd);
	*f = (struct pull_files){-1, -1, -1};
}

static int open_file(
	const struct pulls *p, const char *blob, const char *suffix, int *ret, struct error *err)
{
	autofree char *path = pull_path(p->state, blob, suffix);

	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	*ret = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*ret < 0)
		return fail_errno(err, -errno, "cannot open '%s'", path);
	futimens(*ret, NULL); /* it is not swept */
	return 0;
}

int pulls_open_part(struct pulls *p, const char *digest, const char *blob, struct pull_files *ret,
	struct error *err)
{
	struct pull *pull = find_fetched(p, digest, err);
	size_t i;
	int r = pull ? find_part(pull, blob, &i, err) : -ENOENT;

	*ret = (struct pull_files){-1, -1, -1};
	if (r == 0)
		r = open_file(p, blob, ".part", &ret->partial_fd, err);
	if (r == 0)
		r = open_file(p, blob, ".have", &ret->have_fd, err);
	if (r == 0)
		r = open_file(p, blob, ".caibx", &ret->index_fd, err);
	return r;
}

int pulls_take_part(struct pulls *p, const char *digest, const char *blob,
	void (*done)(const char *why, void *userdata), void *userdata, struct error *err)
{
	struct pull *pull = find_fetched(p, digest, err);
	struct pull_task *t;
	size_t i = 0;
	int r = pull ? find_part(pull, blob, &i, err) : -ENOENT;

	if (r == 0 && pull->busy)
		r = fail(err, -EBUSY, "another part is being looked at");
	if (r < 0)
		return r;
	t = task_new(pull, PULL_CHECK);
	if (!t)
		return fail(err, -ENOMEM, "out of memory");
	t->part = i;
	t->done = done;
	t->userdata = userdata;
	pull->part_states[i] = PULL_PART_CHECKING;
	pull->moved_us = clock_now_us();
	return task_add(pull, t);
}

int pulls_note_progress(struct pulls *p, const char *digest, const struct pull_progress *progress,
	struct error *err)
{
	struct pull *pull = find_fetched(p, digest, err);

	if (!pull)
		return -ENOENT;
	if (progress->bytes != pull->progress.bytes)
		pull->moved_us = clock_now_us();
	pull->progress = *progress;
	return 0;
}

int pulls_note_failure(struct pulls *p, const char *digest, const char *reason, struct error *err)
{
	struct pull *pull = find_fetched(p, digest, err);

	if (!pull)
		return -ENOENT;
	pull_fail(pull, reason[0] ? reason : "wnodes-porter does not say why");
	return 0;
}

int pulls_open_ready(struct pulls *p, const char *blob, int *ret_fd, int *ret_index_fd)
{
	autofree char *path = pull_path(p->state, blob, STORE_READY);
	autofree char *index = pull_path(p->state, blob, ".caibx");
	autoclose int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	autoclose int index_fd = index ? open(index, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

	if (fd < 0 || index_fd < 0)
		return -ENOENT;
	*ret_fd = TAKE_FD(fd);
	*ret_index_fd = TAKE_FD(index_fd);
	return 0;
}

/* "fetching el9: 34 %, 12 s left" */
static void describe(const struct pull *pull, char ret[PULL_REASON_MAX])
{
	const struct pull_progress *g = &pull->progress;
	uint64_t percent = g->total > 0 ? MIN_OF(g->bytes, g->total) * 100 / g->total : 0;
	uint64_t left =
		g->rate > 0 && g->total > g->bytes ? (g->total - g->bytes) / g->rate + 1 : 0;
	char time[FORMAT_MAX];

	if (pull->state == PULL_TAKING || (g->bytes >= g->total && g->total > 0))
		snprintf(ret, PULL_REASON_MAX, "fetching %s: all is here, it is verified",
			pull->called);
	else if (left > 0)
		snprintf(ret, PULL_REASON_MAX, "fetching %s: %llu %%, %s left", pull->called,
			(unsigned long long)percent, format_duration(left * SECOND, time));
	else
		snprintf(ret, PULL_REASON_MAX, "fetching %s: %llu %%", pull->called,
			(unsigned long long)percent);
}

static void pull_tell(struct pull *pull)
{
	char text[PULL_REASON_MAX];
	struct pull_waiter *next;

	describe(pull, text);
	for (struct pull_waiter *w = pull->waiters; w; w = next) {
		next = w->next;
		if (streq(w->said, text))
			continue;
		memcpy(w->said, text, sizeof(text));
		w->moved(text, w->userdata);
	}
}

/* Returns true if it has ended, and `pull` with it. */
static bool pull_look(struct pull *pull, uint64_t now)
{
	if (pull->state == PULL_FETCHING && pull->waiters && now - pull->moved_us > STALL_US)
		pull_fail(pull, "nothing of it has come for five minutes");
	if (pull->state == PULL_FAILED && !pull->busy &&
		(pull->waiters || (pull->soon && now >= pull->retry_us)))
		pull_start(pull);
	if (pull->state == PULL_LOOKING && !pull->busy)
		pull_look_at_disk(pull);
	if (pull->state != PULL_FAILED) {
		if (!pull->waiters)
			pull->moved_us = now;
		pull_tell(pull);
	}
	if (is_wanted(pull) || pull->busy ||
		(pull->state == PULL_FAILED && now - pull->retry_us + RETRY_US < TELL_US))
		return false;
	pull_end(pull); /* what has come of it stays for a while */
	return true;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct pulls *p = userdata;
	uint64_t now = clock_now_us();
	struct pull *next;

	for (struct pull *pull = p->first; pull; pull = next) {
		next = pull->next;
		if (pull_look(pull, now))
			work_changed(p);
	}
	sd_event_source_set_time_relative(source, TICK_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int make_directory(const struct pulls *p, const char *name, struct error *err)
{
	autofree char *path = path_format("%s/%s", p->state, name);
	int r = path ? file_make_dirs(path, 0700) : -ENOMEM;

	return r < 0 ? fail_errno(err, r, "cannot make '%s/%s'", p->state, name) : 0;
}

int pulls_new(sd_event *event, struct worker *worker, struct store *store, const char *state,
	struct admission *admission, const struct pulls_events *events, struct pulls **ret,
	struct error *err)
{
	struct pulls *p AUTO(pulls_freep) = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return fail(err, -ENOMEM, "out of memory");
	p->event = event;
	p->worker = worker;
	p->store = store;
	p->admission = admission;
	p->events = *events;
	p->state = strdup(state);
	if (!p->state)
		return fail(err, -ENOMEM, "out of memory");
	r = make_directory(p, PULL_DIRECTORY, err);
	if (r == 0)
		r = make_directory(p, PULL_INDEXES, err);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(event, &p->tick, CLOCK_MONOTONIC, TICK_US, 0, on_tick, p);
	if (r < 0)
		return fail_errno(err, r, "cannot set up the event loop");
	*ret = TAKE_PTR(p);
	return 0;
}

struct pulls *pulls_free(struct pulls *p)
{
	if (!p)
		return NULL;
	sd_event_source_disable_unref(p->tick);
	while (p->first) {
		struct pull *pull = p->first;

		p->first = pull->next;
		while (pull->waiters)
			waiter_leave(pull->waiters);
		pull_free(pull);
	}
	free(p->state);
	free(p);
	return NULL;
}

json_t *pulls_to_json(const struct pulls *p)
{
	static const char *const states[] = {"looking", "fetching", "taking in", "failed"};
	json_t *list = json_array();

	for (const struct pull *pull = p->first; pull && json_array_size(list) < SHOWN_MAX;
		pull = pull->next) {
		json_int_t waiting = 0;

		for (const struct pull_waiter *w = pull->waiters; w; w = w->next)
			waiting++;
		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s*}",
				"image", pull->called, "digest", pull->digest, "state",
				states[pull->state], "bytes", (json_int_t)pull->progress.bytes,
				"total_bytes", (json_int_t)pull->progress.total, "reused_bytes",
				(json_int_t)pull->progress.reused, "peer_bytes",
				(json_int_t)pull->progress.from_peers, "origin_bytes",
				(json_int_t)pull->progress.from_origin, "rate_bytes",
				(json_int_t)pull->progress.rate, "waiting", waiting, "background",
				pull->soon != 0, "reason",
				pull->failure[0] ? pull->failure : NULL));
	}
	return list;
}
