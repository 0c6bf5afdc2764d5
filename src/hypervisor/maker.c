#include "hypervisor/maker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/strv.h"

#define MAKER_WISHES_MAX 64
#define MAKER_USERS_MAX  1024
#define MAKER_GROUPS_MAX 32
#define HOUR_US          (3600 * UINT64_C(1000000))

/* A boot and a quiescence, both at their deadlines, under idle priority. */
#define MAKER_LIFE_US (1800 * UINT64_C(1000000))

/* How many wishes a user has had in the hour that began then. */
struct tally {
	uid_t uid;
	uint64_t since_us, count;
};

struct maker {
	sd_event *event;
	const struct settings *settings;
	struct shelf *shelf;
	struct worker *worker;
	char *state, *home, *program;
	uid_t uid;
	gid_t gid, groups[MAKER_GROUPS_MAX]; /* such as that of /dev/kvm */
	int group_count;
	bool able;
	struct maker_wish wishes[MAKER_WISHES_MAX];
	size_t count; /* the first is being made if there is a child */
	struct tally tallies[MAKER_USERS_MAX];
	sd_event_source *child, *deadline;
	int pidfd;
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

/* An account's name, or a number. */
static int find_user(struct maker *m)
{
	const char *name = m->settings->node_user;
	const struct passwd *account = getpwnam(name);
	uint64_t number;

	if (account) {
		m->uid = account->pw_uid;
		m->gid = account->pw_gid;
		m->group_count = MAKER_GROUPS_MAX;
		if (getgrouplist(name, m->gid, m->groups, &m->group_count) < 0)
			m->group_count = 0;
	} else if (parse_number(name, 1, UINT32_MAX - 1, &number, NULL) == 0) {
		m->uid = m->gid = (uid_t)number;
	} else {
		log_warning("no templates are made: there is no account '%s' for it; make it with "
			    "`useradd --system %s`, or set [node] user",
			name, name);
		return -ENOENT;
	}
	if (m->uid == 0)
		log_warning("no templates are made: [node] user must not be root");
	return m->uid == 0 ? -EPERM : 0;
}

/* The directory is handed to that user: below it nothing is trusted. */
static int make_home(struct maker *m, struct error *err)
{
	int r = file_make_dirs(m->home, 0700);
	autoclose int fd =
		r < 0 ? -1 : open(m->home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fchown(fd, m->uid, m->gid) < 0)
		return fail_errno(err, r < 0 ? r : -errno, "cannot make '%s'", m->home);
	return 0;
}

/* Beside us in a build directory, else installed. */
static char *find_program(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	autofree char *beside = NULL;

	self[MAX_OF(n, 0)] = '\0';
	if (strrchr(self, '/'))
		*strrchr(self, '/') = '\0';
	beside = path_format("%s/wnodes", self);
	if (beside && access(beside, X_OK) == 0)
		return TAKE_PTR(beside);
	return strdup("wnodes");
}

int maker_new(sd_event *event, const struct settings *settings, const char *state,
	struct shelf *shelf, struct worker *worker, struct maker **ret, struct error *err)
{
	struct maker *m AUTO(maker_freep) = calloc(1, sizeof(*m));
	int r = 0;

	if (!m)
		return fail(err, -ENOMEM, "out of memory");
	m->event = sd_event_ref(event);
	m->settings = settings;
	m->shelf = shelf;
	m->worker = worker;
	m->pidfd = -1;
	m->state = strdup(state);
	m->home = path_format("%s/maker", state);
	m->program = find_program();
	if (!m->state || !m->home || !m->program)
		return fail(err, -ENOMEM, "out of memory");
	m->able = find_user(m) == 0;
	if (m->able)
		r = make_home(m, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

static void child_forget(struct maker *m)
{
	m->child = sd_event_source_disable_unref(m->child);
	m->deadline = sd_event_source_disable_unref(m->deadline);
	m->pidfd = base_close(m->pidfd);
}

struct maker *maker_free(struct maker *m)
{
	if (!m)
		return NULL;
	if (m->pidfd >= 0)
		child_kill(m->pidfd);
	child_forget(m);
	sd_event_unref(m->event);
	free(m->state);
	free(m->home);
	free(m->program);
	free(m);
	return NULL;
}

bool maker_is_busy(const struct maker *m)
{
	return m->pidfd >= 0 || m->adopting;
}

static struct tally *find_tally(struct maker *m, uid_t uid)
{
	uint64_t now = clock_now_us();
	struct tally *free_one = NULL;

	for (size_t i = 0; i < MAKER_USERS_MAX; i++) {
		struct tally *t = &m->tallies[i];
		bool counts = t->count > 0 && now - t->since_us < HOUR_US;

		if (counts && t->uid == uid)
			return t;
		if (!counts)
			free_one = t;
	}
	if (free_one)
		*free_one = (struct tally){uid, now, 0};
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
	struct tally *tally;

	if (!m->able)
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
	tally = find_tally(m, wish->uid);
	if (!tally || (m->settings->node_templates_an_hour > 0 && wish->uid != 0 &&
			      tally->count >= m->settings->node_templates_an_hour))
		return -EDQUOT;
	tally->count++;
	m->wishes[m->count++] = *wish;
	maker_next(m);
	return 0;
}

static void fill_env(const struct maker *m, struct strv *env)
{
	const char *search = getenv("PATH");

	strv_add_format(env, "PATH=%s", search ? search : "/usr/bin:/bin");
	strv_add_format(env, "HOME=%s", m->home);
	strv_add_format(env, "XDG_CACHE_HOME=%s/cache", m->home);
	strv_add_format(env, "XDG_DATA_HOME=%s/data", m->home);
	strv_add_format(env, "XDG_CONFIG_HOME=%s/config", m->home);
	strv_add_format(env, "XDG_RUNTIME_DIR=%s/run", m->home);
	strv_add_format(env, "WNODES_SYSTEM_STORE=%s", m->state);
	strv_add_format(env, "WNODES_SEEDS=%s/seeds", m->state);
}

static void fill_arguments(const struct maker *m, const struct maker_wish *w, struct strv *argv)
{
	strv_add_all(argv, m->program, "template", "create", "--background", "--accel", w->accel,
		"--network", w->network, NULL);
	strv_add_format(argv, "--cpus=%llu", (unsigned long long)w->cpus);
	strv_add_format(argv, "--memory=%lluM", (unsigned long long)w->memory_mib);
	strv_add_format(argv, "--shares=%llu", (unsigned long long)w->slots);
	if (w->scratch)
		strv_add(argv, "--scratch");
	strv_add(argv, w->digest);
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata);

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct maker *m = userdata;

	log_warning("making a template takes too long; giving up");
	pidfd_send_signal(m->pidfd, SIGKILL, NULL, 0);
	return 0;
}

static int spawn(struct maker *m, struct strv *argv, struct error *err)
{
	struct strv env AUTO(strv_done) = {0};
	struct child_spec child = CHILD_SPEC_INIT;
	int r;

	fill_env(m, &env);
	if (argv->failed || env.failed)
		return fail(err, -ENOMEM, "out of memory");
	child.argv = strv_list(argv);
	child.env = strv_list(&env);
	child.workdir = "/";
	child.new_session = true;
	child.no_new_privs = true;
	child.set_user = true;
	child.uid = m->uid;
	child.gid = m->gid;
	child.groups = m->groups;
	child.group_count = (size_t)m->group_count;
	r = child_spawn(&child, NULL, &m->pidfd, err);
	if (r == 0)
		r = sd_event_add_io(m->event, &m->child, m->pidfd, EPOLLIN, on_end, m);
	if (r >= 0)
		sd_event_add_time_relative(
			m->event, &m->deadline, CLOCK_MONOTONIC, MAKER_LIFE_US, 0, on_deadline, m);
	return MIN_OF(r, 0);
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

		fill_arguments(m, &m->wishes[0], &argv);
		if (spawn(m, &argv, &err) == 0)
			return;
		log_warning("no template is made: %s", err.text);
		child_forget(m);
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
		r = template_adopt(directory, a->maker->uid, shelf_directory(a->maker->shelf),
			entry->d_name, &a->err);
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

	strv_add_all(&argv, m->program, "template", "remove", "--all", NULL);
	m->cleaning = spawn(m, &argv, &err) == 0;
	if (!m->cleaning) {
		log_warning("%s", err.text);
		child_forget(m);
	}
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
		a->from = path_format("%s/cache/wnodes", m->home);
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

static int on_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct maker *m = userdata;
	int status = child_wait(fd, 0);

	child_forget(m);
	if (m->cleaning)
		m->cleaning = false;
	else if (status == 0)
		adopt(m);
	else
		wish_done(m); /* it has said why, and keeps a note that stops it for an hour */
	maker_next(m);
	return 0;
}
