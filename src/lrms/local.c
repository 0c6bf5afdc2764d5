/* The local queue as a batch system: what the user's commands do. The work is the runner's. */
#include "lrms/local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/deadline.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lrms/keeper.h"
#include "lrms/slots.h"
#include "lrms/wake.h"

#define LOCK_FILE "runner.lock"
#define LOG_FILE  "runner.log"
#define LOG_MAX   (1 << 20)
#define HOST_MAX  256

struct local {
	struct lrms base;
	const struct lrms_options *options;
	char *directory;
	struct database *db;
};

static void host_name(char ret[HOST_MAX])
{
	if (gethostname(ret, HOST_MAX) < 0 || !*ret)
		snprintf(ret, HOST_MAX, "localhost");
	ret[HOST_MAX - 1] = '\0';
	for (char *p = ret; *p; p++)
		if (*p == '/')
			*p = '_';
}

char *local_directory(void)
{
	autofree char *state = path_state();
	char host[HOST_MAX];

	host_name(host);
	return state ? path_format("%s/queue-%s", state, host) : NULL;
}

static int lock_open(const char *directory)
{
	autofree char *path = path_format("%s/" LOCK_FILE, directory);
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

	return fd < 0 && path ? -errno : fd < 0 ? -ENOMEM : fd;
}

int local_lock_runner(const char *directory)
{
	autoclose int fd = lock_open(directory);
	int r = fd < 0 ? fd : file_lock(fd, true, false);

	return r < 0 ? r : TAKE_FD(fd);
}

/* A shared lock is tried, so that two who look do not take each other for the runner. */
bool local_has_runner(const char *directory)
{
	autoclose int fd = lock_open(directory);

	return fd >= 0 && file_lock(fd, false, false) == -EWOULDBLOCK;
}

/* Entries that are to be changed when the list has been read: a change within a read transaction
 * fails if somebody else has changed something meanwhile. */
struct dead {
	int64_t *ids;
	size_t count;
};

static int collect_dead(const struct entry *entry, void *userdata)
{
	struct dead *dead = userdata;
	int64_t *grown;

	if (entry_is_kept(entry))
		return 0;
	grown = reallocarray(dead->ids, dead->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	dead->ids = grown;
	dead->ids[dead->count++] = entry->id;
	return 0;
}

static void dead_done(struct dead *dead)
{
	free(dead->ids);
}

int local_settle(struct database *db, struct error *err)
{
	struct dead dead AUTO(dead_done) = {0};
	int r = entry_list(db, ENTRY_RUNNING, collect_dead, &dead, err), count = 0;

	for (size_t i = 0; r >= 0 && i < dead.count; i++) {
		struct entry entry AUTO(entry_done) = {0};

		r = entry_find(db, dead.ids[i], &entry, err);
		if (r == 0)
			r = entry_settle(db, &entry, lrms_now_us(), err);
		count += r > 0;
	}
	return r < 0 ? r : count;
}

/* The runner's messages go where they can be read later; an old log is begun anew. */
static int log_open(const char *directory)
{
	autofree char *path = path_format("%s/" LOG_FILE, directory);
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > LOG_MAX && ftruncate(fd, 0) < 0)
		log_debug("cannot empty '%s'", path);
	return fd;
}

static int spawn_runner(struct local *l, struct error *err)
{
	static const char *const own[] = {"/proc/self/exe", "runner", NULL};
	autoclose int log_fd = log_open(l->directory), pidfd = -1;
	struct child_spec child = CHILD_SPEC_INIT;

	child.argv = l->options->program ? l->options->program : own;
	child.stderr_fd = log_fd;
	child.new_session = true;
	child.dies_with_parent = false;
	child.workdir = "/";
	return child_spawn(&child, NULL, &pidfd, err);
}

static int stop_at_first(const struct entry *entry, void *userdata)
{
	return 1;
}

/* Starts a runner if there is something to do and nobody who does it. The order matters: see
 * queue_runner_run(). */
static void ensure_runner(struct local *l)
{
	struct error err = {0};
	int r = entry_list(l->db, ENTRY_ACTIVE, stop_at_first, NULL, &err);

	if (r > 0 && !local_has_runner(l->directory))
		r = spawn_runner(l, &err);
	if (r < 0)
		log_warning("nothing starts the queue's jobs now: %s", err.text);
}

static const char *user_name(char number[16])
{
	const struct passwd *user = getpwuid(geteuid());

	snprintf(number, 16, "%u", (unsigned int)geteuid());
	return user && user->pw_name ? user->pw_name : number;
}

static int local_submit(struct lrms *lrms, const struct lrms_submission *submission,
	char ret_id[LRMS_ID_MAX], struct error *err)
{
	struct local *l = (struct local *)lrms;
	char host[HOST_MAX], number[16];
	struct slots slots;
	int64_t id = 0;
	int r;

	slots_get(l->options, &slots);
	r = slots_check(&slots, submission->cpus, submission->memory_bytes, err);
	if (r < 0)
		return r;
	host_name(host);
	r = entry_add(l->db, submission, user_name(number), host, lrms_now_us(), &id, err);
	if (r < 0)
		return r;
	snprintf(ret_id, LRMS_ID_MAX, "%lld", (long long)id);
	wake_touch(l->directory);
	ensure_runner(l);
	return 0;
}

struct lister {
	int (*each)(const struct lrms_job *job, void *userdata);
	void *userdata;
};

static int list_one(const struct entry *entry, void *userdata)
{
	const struct lister *lister = userdata;

	return lister->each(&entry->job, lister->userdata);
}

static int local_list(struct lrms *lrms, const struct lrms_filter *filter,
	int (*each)(const struct lrms_job *job, void *userdata), void *userdata, struct error *err)
{
	struct local *l = (struct local *)lrms;
	struct lister lister = {each, userdata};
	char number[16];
	int r;

	if (filter->user && !streq(filter->user, user_name(number)))
		return fail(err, -EPERM,
			"the local queue is '%s' own; there are no jobs of '%s' to be seen",
			user_name(number), filter->user);
	r = local_settle(l->db, err);
	if (r > 0)
		wake_touch(l->directory);
	if (r < 0)
		return r;
	ensure_runner(l);
	return entry_list(l->db, filter->all ? ENTRY_ALL : ENTRY_ACTIVE, list_one, &lister, err);
}

static int ask_keeper(struct local *l, const struct entry *entry, int signo, struct error *err)
{
	int r;

	if (lrms_state_is_end(entry->job.state))
		return fail(err, -ESRCH, "job %s has ended already: %s", entry->job.id,
			lrms_state_name(entry->job.state));
	if (entry->job.state == LRMS_QUEUED)
		return fail(err, -ESRCH,
			"job %s has not begun: there is nothing to send a signal to",
			entry->job.id);
	r = keeper_ask(&entry->keeper, signo);
	if (r == -ESRCH)
		r = entry_settle(l->db, entry, lrms_now_us(), err);
	else if (r < 0)
		return fail_errno(err, r, "cannot reach job %s", entry->job.id);
	return MIN_OF(r, 0);
}

/* Returns 1 if that was all: the job was queued, and is cancelled. */
static int cancel_queued(struct local *l, int64_t id, struct error *err)
{
	int r = entry_cancel(l->db, id, lrms_now_us(), err);

	if (r == 0) {
		r = entry_want_end(l->db, id, err);
		r = MIN_OF(r, 0);
	}
	return r;
}

static int local_cancel(struct lrms *lrms, const char *id_text, int signo, struct error *err)
{
	struct local *l = (struct local *)lrms;
	struct entry entry AUTO(entry_done) = {0};
	int64_t id;
	int r = entry_parse_id(id_text, &id, err);

	if (r == 0 && (signo == 0 || signo == SIGKILL))
		r = cancel_queued(l, id, err);
	if (r == 0) {
		r = entry_find(l->db, id, &entry, err);
		if (r == 0)
			r = ask_keeper(l, &entry, signo, err);
	}
	if (r >= 0)
		wake_touch(l->directory);
	return MIN_OF(r, 0);
}

/* Returns 1 with the job when it has ended, 0 if it has not, or negative errno. */
static int take_ended(struct local *l, int64_t id, struct lrms_job *ret, struct error *err)
{
	struct entry entry AUTO(entry_done) = {0};
	int r = entry_find(l->db, id, &entry, err);

	if (r == 0)
		r = entry_settle(l->db, &entry, lrms_now_us(), err);
	if (r > 0) {
		entry_done(&entry);
		wake_touch(l->directory);
		r = entry_find(l->db, id, &entry, err);
	}
	if (r < 0 || !lrms_state_is_end(entry.job.state))
		return r;
	*ret = entry.job;
	entry.job = (struct lrms_job){0};
	return 1;
}

static int local_wait(struct lrms *lrms, const char *id_text, uint64_t deadline,
	struct lrms_job *ret, struct error *err)
{
	struct local *l = (struct local *)lrms;
	autoclose int wake_fd = wake_open(l->directory);
	struct pollfd pollfd = {.fd = wake_fd, .events = POLLIN};
	uint64_t look;
	int64_t id;
	int r = entry_parse_id(id_text, &id, err);

	if (r == 0 && wake_fd < 0)
		return fail_errno(err, wake_fd, "cannot watch '%s'", l->directory);
	while (r == 0) {
		r = take_ended(l, id, ret, err);
		if (r != 0)
			break;
		if (deadline_left_ms(deadline) == 0)
			return fail(err, -ETIMEDOUT, "job %s has not ended", id_text);
		ensure_runner(l);
		look = deadline_in_ms(WAKE_LOOK_MS);
		deadline_poll(&pollfd, 1, MIN_OF(deadline, look));
		wake_drain(wake_fd);
	}
	return MIN_OF(r, 0);
}

static struct lrms *local_free(struct lrms *lrms)
{
	struct local *l = (struct local *)lrms;

	database_free(l->db);
	free(l->directory);
	free(l);
	return NULL;
}

static const struct lrms_operations operations = {
	.name = "local",
	.submit = local_submit,
	.list = local_list,
	.cancel = local_cancel,
	.wait = local_wait,
	.free = local_free,
};

int lrms_local_open(const struct lrms_options *options, struct lrms **ret, struct error *err)
{
	struct local *l = calloc(1, sizeof(*l));
	struct lrms *lrms AUTO(lrms_freep) = (struct lrms *)l;
	int r;

	if (!l)
		return fail(err, -ENOMEM, "out of memory");
	l->base.operations = &operations;
	l->options = options;
	l->directory = local_directory();
	if (!l->directory)
		return fail(err, -ENOMEM, "out of memory");
	r = database_open(l->directory, &l->db, err);
	if (r == 0)
		*ret = TAKE_PTR(lrms);
	return r;
}
