#include "hypervisor/shelf.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "vm/memory.h"

/* Somebody who waits for a template's memory. */
struct waiter {
	shelf_fn done;
	void *userdata;
	struct waiter *next;
};

/* A template whose memory is held, or being read. */
struct held {
	struct worker_job job;
	struct shelf *shelf;
	char key[DIGEST_HEX_SIZE];
	bool loading;
	int memory_fd;
	struct stat origin; /* the file that it was read from: another one is another template */
	uint64_t bytes;
	uint64_t turn; /* of the last use */
	struct waiter *waiters;
	struct error err;
	int result;
	struct held *next;
};

struct shelf {
	struct worker *worker;
	char *directory;
	uint64_t budget, turns;
	struct held *held;
};

int shelf_new(struct worker *worker, const char *directory, uint64_t memory_bytes,
	struct shelf **ret, struct error *err)
{
	struct shelf *s AUTO(shelf_freep) = calloc(1, sizeof(*s));
	int r;

	if (!s || !(s->directory = strdup(directory)))
		return fail(err, -ENOMEM, "out of memory");
	s->worker = worker;
	s->budget = memory_bytes;
	r = file_make_dirs(directory, 0700);
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", directory);
	r = template_gc(directory, UINT64_MAX, false, NULL, NULL, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

static void held_free(struct held *h)
{
	while (h->waiters) {
		struct waiter *next = h->waiters->next;

		free(h->waiters);
		h->waiters = next;
	}
	base_close(h->memory_fd);
	free(h);
}

/* The worker must be gone. */
struct shelf *shelf_free(struct shelf *s)
{
	if (!s)
		return NULL;
	while (s->held) {
		struct held *next = s->held->next;

		held_free(s->held);
		s->held = next;
	}
	free(s->directory);
	free(s);
	return NULL;
}

const char *shelf_directory(const struct shelf *s)
{
	return s->directory;
}

static struct held *find(const struct shelf *s, const char *key)
{
	for (struct held *h = s->held; h; h = h->next)
		if (streq(h->key, key))
			return h;
	return NULL;
}

static void drop(struct shelf *s, struct held *held)
{
	for (struct held **at = &s->held; *at; at = &(*at)->next)
		if (*at == held) {
			*at = held->next;
			held_free(held);
			return;
		}
}

/* Lets go of memory that was not used for the longest time. Who was lent it keeps it. */
static void shrink(struct shelf *s, const struct held *keep)
{
	for (;;) {
		struct held *oldest = NULL;
		uint64_t bytes = 0;

		for (struct held *h = s->held; h; h = h->next) {
			bytes += h->loading ? 0 : h->bytes;
			if (!h->loading && h != keep && (!oldest || h->turn < oldest->turn))
				oldest = h;
		}
		if (s->budget == 0 || bytes <= s->budget || !oldest)
			return;
		drop(s, oldest);
	}
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int load(struct held *h)
{
	struct template *t AUTO(template_closep) = NULL;
	struct stat st;
	int r = template_open(h->shelf->directory, h->key, &t, &h->err);

	if (r < 0)
		return r;
	if (fstat(t->memory_fd, &h->origin) < 0)
		return fail_errno(&h->err, -errno, "cannot look at the template");
	h->memory_fd = memory_copy(t->memory_fd, &h->err);
	r = h->memory_fd < 0 ? h->memory_fd : memory_seal(h->memory_fd, &h->err);
	if (r == 0 && fstat(h->memory_fd, &st) == 0)
		h->bytes = (uint64_t)st.st_blocks * 512;
	return r;
}

static void load_work(struct worker_job *job)
{
	struct held *h = (struct held *)(void *)job;

	h->result = load(h);
}

/* Opens the rest for one clone. Returns 0, or negative errno if the template is not there any more,
 * or is another one. */
static int lend(struct shelf *s, struct held *h, struct shelf_template *ret)
{
	struct template *t AUTO(template_closep) = NULL;
	struct error err = {0};
	struct stat st;
	int r = template_open(s->directory, h->key, &t, &err);

	if (r == 0 && (fstat(t->memory_fd, &st) < 0 || !same_file(&st, &h->origin)))
		r = -ESTALE;
	if (r < 0)
		return r;
	h->turn = ++s->turns;
	*ret = (struct shelf_template){fcntl(h->memory_fd, F_DUPFD_CLOEXEC, 3),
		TAKE_FD(t->state_fd), TAKE_FD(t->overlay_fd)};
	return ret->memory_fd < 0 ? -EMFILE : 0;
}

static void template_return(struct shelf_template *t)
{
	base_close(t->memory_fd);
	base_close(t->state_fd);
	base_close(t->overlay_fd);
}

static void answer(struct shelf *s, struct held *h, shelf_fn done, void *userdata)
{
	struct shelf_template t = {-1, -1, -1};

	if (h->result == 0)
		h->result = lend(s, h, &t);
	done(h->result == 0 ? &t : NULL, userdata);
	template_return(&t);
}

static void load_done(struct worker_job *job, bool cancelled)
{
	struct held *h = (struct held *)(void *)job;
	struct shelf *s = h->shelf;

	h->loading = false;
	if (h->result == -EBADMSG) {
		log_warning("%s; it is removed", h->err.text);
		template_remove(s->directory, h->key, NULL);
	} else if (h->result < 0 && h->result != -ENOENT) {
		log_warning("a template cannot be used: %s", h->err.text);
	}
	while (h->waiters && !cancelled) {
		struct waiter *w = h->waiters;

		h->waiters = w->next;
		answer(s, h, w->done, w->userdata);
		free(w);
	}
	if (h->result < 0)
		drop(s, h);
	else
		shrink(s, h);
}

static struct held *load_start(struct shelf *s, const char *key)
{
	struct held *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->job = (struct worker_job){.work = load_work, .done = load_done};
	h->shelf = s;
	h->memory_fd = -1;
	h->loading = true;
	memcpy(h->key, key, sizeof(h->key));
	h->next = s->held;
	s->held = h;
	worker_add(s->worker, &h->job);
	return h;
}

void shelf_lend(struct shelf *s, const char *key, shelf_fn done, void *userdata)
{
	struct held *h = find(s, key);
	struct waiter *waiter;

	if (h && !h->loading) {
		struct shelf_template t = {-1, -1, -1};

		if (lend(s, h, &t) == 0) {
			done(&t, userdata);
			template_return(&t);
			return;
		}
		template_return(&t);
		drop(s, h);
		h = NULL;
	}
	waiter = shelf_has(s, key) ? calloc(1, sizeof(*waiter)) : NULL;
	if (waiter && !h)
		h = load_start(s, key);
	if (!waiter || !h) {
		free(waiter);
		done(NULL, userdata);
		return;
	}
	*waiter = (struct waiter){done, userdata, h->waiters};
	h->waiters = waiter;
}

void shelf_forget(struct shelf *s, void *userdata)
{
	for (struct held *h = s->held; h; h = h->next)
		for (struct waiter **at = &h->waiters; *at;) {
			struct waiter *w = *at;

			if (w->userdata == userdata) {
				*at = w->next;
				free(w);
			} else {
				at = &w->next;
			}
		}
}

void shelf_discard(struct shelf *s, const char *key, const char *reason)
{
	struct held *h = find(s, key);

	if (h && !h->loading)
		drop(s, h);
	template_remove(s->directory, key, NULL);
	template_note_failure(s->directory, key, reason);
}

void shelf_record_use(struct shelf *s, const char *key, uint64_t start_us)
{
	struct template *t AUTO(template_closep) = NULL;

	if (template_open(s->directory, key, &t, NULL) == 0)
		template_record_use(t, start_us);
}

bool shelf_has(const struct shelf *s, const char *key)
{
	autofree char *path = path_format("%s/%s", s->directory, key);

	return path && access(path, F_OK) == 0;
}

void shelf_get_usage(const struct shelf *s, struct shelf_usage *ret)
{
	*ret = (struct shelf_usage){0};
	for (const struct held *h = s->held; h; h = h->next)
		if (!h->loading) {
			ret->templates++;
			ret->memory_bytes += h->bytes;
		}
}
