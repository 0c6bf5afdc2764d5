#include "hypervisor/maker.h"

#include <dirent.h>
#include <errno.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/strv.h"

#define MAKER_WISHES_MAX 64
#define MAKER_USERS_MAX  1024
#define HOUR_US          (3600 * UINT64_C(1000000))

/* A boot and a quiescence, both at their deadlines, under idle priority. */
#define MAKER_LIFE_US (1800 * UINT64_C(1000000))

/* How many wishes a user has had in the hour that began then. */
struct quota {
	uid_t uid;
	uint64_t since_us, count;
};

struct maker {
	sd_event *event;
	const struct settings *settings;
	struct shelf *shelf;
	struct worker *worker;
	struct servant *servant; /* NULL: there is none, and no template is made */
	struct maker_wish wishes[MAKER_WISHES_MAX];
	size_t count; /* the first is being made if there is a child */
	struct quota quotas[MAKER_USERS_MAX];
	struct servant_task task;
	bool cleaning; /* the child removes what was taken over */
	bool adopting;
};

/* What the worker does when the child has ended. */
struct adoption {
	struct worker_job job;
	struct maker *maker;
	char *from;
	size_t adopted;
	int result;
	struct error err;
};

static void maker_next(struct maker *m);

static void on_end(int status, void *userdata);

int maker_new(sd_event *event, const struct settings *settings, struct servant *servant,
	struct shelf *shelf, struct worker *worker, struct maker **ret, struct error *err)
{
	struct maker *m = calloc(1, sizeof(*m));

	if (!m)
		return fail(err, -ENOMEM, "out of memory");
	m->event = sd_event_ref(event);
	m->settings = settings;
	m->servant = servant;
	m->shelf = shelf;
	m->worker = worker;
	m->task = (struct servant_task){.done = on_end, .userdata = m, .pidfd = -1};
	*ret = m;
	return 0;
}

struct maker *maker_free(struct maker *m)
{
	if (!m)
		return NULL;
	servant_stop(&m->task);
	sd_event_unref(m->event);
	free(m);
	return NULL;
}

bool maker_is_busy(const struct maker *m)
{
	return m->task.pidfd >= 0 || m->adopting;
}

static struct quota *find_quota(struct maker *m, uid_t uid)
{
	uint64_t now = clock_now_us();
	struct quota *free_one = NULL;

	for (size_t i = 0; i < MAKER_USERS_MAX; i++) {
		struct quota *t = &m->quotas[i];
		bool counts = t->count > 0 && now - t->since_us < HOUR_US;

		if (counts && t->uid == uid)
			return t;
		if (!counts)
			free_one = t;
	}
	if (free_one)
		*free_one = (struct quota){uid, now, 0};
	return free_one;
}

static bool same_wish(const struct maker_wish *a, const struct maker_wish *b)
{
	return streq(a->digest, b->digest) && streq(a->accel, b->accel) &&
	       streq(a->network, b->network) && a->cpus == b->cpus &&
	       a->memory_mib == b->memory_mib && a->slots == b->slots && a->scratch == b->scratch;
}

int maker_wish(struct maker *m, const struct maker_wish *wish)
{
	struct quota *quota;

	if (!m->servant)
		return -ENOENT;
	if (wish->key[0] &&
		(shelf_has(m->shelf, wish->key) ||
			template_failed_recently(shelf_directory(m->shelf), wish->key, NULL)))
		return 0;
	for (size_t i = 0; i < m->count; i++)
		if (same_wish(&m->wishes[i], wish))
			return 0;
	if (m->count >= MAKER_WISHES_MAX)
		return -ENOBUFS;
	quota = find_quota(m, wish->uid);
	if (!quota || (m->settings->node_templates_an_hour > 0 && wish->uid != 0 &&
			      quota->count >= m->settings->node_templates_an_hour))
		return -EDQUOT;
	quota->count++;
	m->wishes[m->count++] = *wish;
	maker_next(m);
	return 0;
}

static void fill_arguments(const struct maker_wish *w, struct strv *argv)
{
	strv_add_all(argv, "template", "create", "--background", "--accel", w->accel, "--network",
		w->network, NULL);
	strv_add_format(argv, "--cpus=%llu", (unsigned long long)w->cpus);
	strv_add_format(argv, "--memory=%lluM", (unsigned long long)w->memory_mib);
	strv_add_format(argv, "--shares=%llu", (unsigned long long)w->slots);
	if (w->scratch)
		strv_add(argv, "--scratch");
	strv_add(argv, w->digest);
}

static int maker_start(struct maker *m, const struct strv *arguments, struct error *err)
{
	return servant_start(m->servant, m->event, &m->task, arguments, MAKER_LIFE_US, err);
}

static void wish_done(struct maker *m)
{
	if (m->count > 0)
		memmove(m->wishes, m->wishes + 1, --m->count * sizeof(m->wishes[0]));
}

static void maker_next(struct maker *m)
{
	while (m->count > 0 && !maker_is_busy(m)) {
		struct strv argv AUTO(strv_done) = {0};
		struct error err = {0};

		fill_arguments(&m->wishes[0], &argv);
		if (maker_start(m, &argv, &err) == 0)
			return;
		log_warning("no template is made: %s", err.text);
		wish_done(m);
	}
}

/* Their name has the host in it, which the maker's program knows how to write. */
static int adopt_in(struct adoption *a, const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	int r = dir ? 0 : -errno;

	while (dir && r == 0 && (entry = readdir(dir))) {
		if (!digest_is_hex(entry->d_name))
			continue;
		r = template_adopt(directory, servant_uid(a->maker->servant),
			shelf_directory(a->maker->shelf), entry->d_name, &a->err);
		a->adopted += r == 0;
		r = r == -EEXIST ? 0 : r;
	}
	if (dir)
		closedir(dir);
	return r;
}

static void adopt_work(struct worker_job *job)
{
	struct adoption *a = (struct adoption *)(void *)job;
	DIR *dir = opendir(a->from);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		autofree char *path = path_format("%s/%s", a->from, entry->d_name);

		if (path && str_after(entry->d_name, "templates-") && a->result == 0)
			a->result = adopt_in(a, path);
	}
	if (dir)
		closedir(dir);
	if (a->adopted > 0)
		template_gc(shelf_directory(a->maker->shelf), a->maker->settings->template_budget,
			false, NULL, NULL, NULL);
}

static void clean(struct maker *m)
{
	struct strv argv AUTO(strv_done) = {0};
	struct error err = {0};

	strv_add_all(&argv, "template", "remove", "--all", NULL);
	m->cleaning = maker_start(m, &argv, &err) == 0;
	if (!m->cleaning)
		log_warning("%s", err.text);
}

static void adopt_done(struct worker_job *job, bool cancelled)
{
	struct adoption *a = (struct adoption *)(void *)job;
	struct maker *m = a->maker;

	m->adopting = false;
	if (a->result < 0 && !cancelled)
		log_warning("a template that was made cannot be taken over: %s", a->err.text);
	if (!cancelled) {
		wish_done(m);
		if (a->adopted > 0)
			clean(m);
		maker_next(m);
	}
	free(a->from);
	free(a);
}

static void adopt(struct maker *m)
{
	struct adoption *a = calloc(1, sizeof(*a));

	if (a)
		a->from = path_format("%s/cache/wnodes", servant_home(m->servant));
	if (!a || !a->from) {
		free(a);
		wish_done(m);
		return;
	}
	a->job = (struct worker_job){.work = adopt_work, .done = adopt_done};
	a->maker = m;
	m->adopting = true;
	worker_add(m->worker, &a->job);
}

static void on_end(int status, void *userdata)
{
	struct maker *m = userdata;

	if (m->cleaning)
		m->cleaning = false;
	else if (status == 0)
		adopt(m);
	else
		wish_done(m); /* it has said why, and keeps a note that stops it for an hour */
	maker_next(m);
}
