#include "lrms/queue_runner.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "lib/child.h"
#include "lib/deadline.h"
#include "lib/exit.h"
#include "lib/log.h"
#include "lib/strv.h"
#include "lrms/keeper.h"
#include "lrms/local.h"
#include "lrms/slots.h"
#include "lrms/wake.h"

/* Who looks whether there is a runner holds the lock for a moment. */
#define LOCK_TRIES    50
#define LOCK_PAUSE_MS 20

/* A keeper that ends without having started its job is started again, after a pause. */
#define ATTEMPTS_MAX     5
#define ATTEMPT_PAUSE_MS 200

/* A database that cannot be read for so many looks is given up. */
#define FAILURES_MAX 60

#define TICK_US (WAKE_LOOK_MS * UINT64_C(1000))

/* A job whose keeper is watched, or that is to be started again. */
struct watch {
	struct watch *next;
	struct runner *runner;
	int64_t id;
	uint64_t cpus, memory_bytes;
	int pidfd; /* of its keeper; -1: there is none */
	sd_event_source *source;
	bool ours; /* our child: to be reaped */
	unsigned int attempts;
};

struct runner {
	struct lrms_options *options;
	void (*limits)(struct lrms_options *options);
	struct slots slots;
	char *directory;
	struct database *db;
	sd_event *event;
	sd_event_source *tick;
	int wake_fd;
	struct watch *watches;
	uint64_t hold; /* until then nothing is started */
	unsigned int failures;
	bool told; /* SIGTERM */
	/* What a pass over the queue has found must wait until the pass is over. */
	int64_t refused;
	struct error refusal;
};

static struct watch *watch_free(struct watch *w)
{
	if (!w)
		return NULL;
	sd_event_source_disable_unref(w->source);
	base_close(w->pidfd);
	free(w);
	return NULL;
}

static void runner_done(struct runner *r)
{
	while (r->watches) {
		struct watch *next = r->watches->next;

		watch_free(r->watches);
		r->watches = next;
	}
	sd_event_source_disable_unref(r->tick);
	sd_event_unref(r->event);
	base_close(r->wake_fd);
	database_free(r->db);
	free(r->directory);
}

static struct watch *runner_find(struct runner *r, int64_t id)
{
	struct watch *w = r->watches;

	while (w && w->id != id)
		w = w->next;
	return w;
}

static void runner_drop(struct runner *r, struct watch *w)
{
	struct watch **p = &r->watches;

	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	watch_free(w);
}

static struct watch *runner_add(struct runner *r, const struct entry *entry)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct watch){
		.next = r->watches,
		.runner = r,
		.id = entry->id,
		.cpus = entry->job.cpus,
		.memory_bytes = entry->job.memory_bytes,
		.pidfd = -1,
	};
	r->watches = w;
	return w;
}

static void runner_pass(struct runner *r);

/* Its keeper has ended without having begun it: killed, or the database could not be written. */
static int watch_retry(struct watch *w, struct error *err)
{
	struct runner *r = w->runner;
	int64_t id = w->id;

	r->hold = deadline_in_ms(ATTEMPT_PAUSE_MS);
	sd_event_source_set_time_relative(r->tick, ATTEMPT_PAUSE_MS * UINT64_C(1000));
	if (++w->attempts < ATTEMPTS_MAX)
		return 0;
	runner_drop(r, w);
	return entry_refuse(r->db, id, EXIT_WNODES,
		"it could not be started; the queue's runner.log says why", lrms_now_us(), err);
}

static int on_keeper_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct watch *w = userdata;
	struct runner *r = w->runner;
	struct entry entry AUTO(entry_done) = {0};
	struct error err = {0};
	int ret;

	if (w->ours)
		child_wait(w->pidfd, 0);
	w->source = sd_event_source_disable_unref(w->source);
	w->pidfd = base_close(w->pidfd);
	ret = entry_find(r->db, w->id, &entry, &err);
	if (ret == 0 && entry.job.state == LRMS_QUEUED)
		ret = watch_retry(w, &err);
	else
		runner_drop(r, w);
	if (ret < 0 && ret != -ENOENT)
		log_warning("%s", err.text);
	runner_pass(r);
	return 0;
}

static int watch_keeper(struct watch *w, int pidfd, bool ours)
{
	int r = sd_event_add_io(w->runner->event, &w->source, pidfd, EPOLLIN, on_keeper_end, w);

	/* Then it is found as one that we have not started. */
	w->pidfd = r < 0 ? base_close(pidfd) : pidfd;
	w->ours = ours;
	return MIN_OF(r, 0);
}

/* Takes over what another runner has started, and reminds keepers of what they may not have heard.
 */
static int runner_adopt(const struct entry *entry, void *userdata)
{
	struct runner *r = userdata;
	struct watch *w = runner_find(r, entry->id);
	autoclose int pidfd = -1;

	if (entry->cancelled)
		keeper_ask(&entry->keeper, 0);
	if (w && w->pidfd >= 0)
		return 0;
	pidfd = process_open(&entry->keeper.process);
	/* It has just ended: the next look settles that. */
	if (pidfd < 0)
		return 0;
	w = w ? w : runner_add(r, entry);
	return w ? watch_keeper(w, TAKE_FD(pidfd), false) : -ENOMEM;
}

static int runner_spawn(struct runner *r, const struct entry *entry, struct error *err)
{
	static const char *const own[] = {"/proc/self/exe", "runner", NULL};
	const char *const *program = r->options->program ? r->options->program : own;
	struct child_spec child = CHILD_SPEC_INIT;
	struct strv argv AUTO(strv_done) = {0};
	struct watch *w = runner_find(r, entry->id);
	int pidfd, ret;

	for (; *program; program++)
		strv_add(&argv, *program);
	strv_add_all(&argv, "--job", entry->job.id, NULL);
	child.argv = strv_list(&argv);
	child.new_session = true;
	child.dies_with_parent = false;
	w = w ? w : runner_add(r, entry);
	if (!w || argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	ret = child_spawn(&child, NULL, &pidfd, err);
	if (ret == 0)
		ret = watch_keeper(w, pidfd, true);
	return ret;
}

static struct slots runner_used(const struct runner *r)
{
	struct slots used = {0};

	for (const struct watch *w = r->watches; w; w = w->next)
		if (w->pidfd >= 0) {
			used.cpus += w->cpus;
			used.memory_bytes += w->memory_bytes;
		}
	return used;
}

/* Looks at the jobs from the head of the queue on; returns 1 at the first that must wait: none
 * overtakes it. */
static int runner_consider(const struct entry *entry, void *userdata)
{
	struct runner *r = userdata;
	const struct watch *w = runner_find(r, entry->id);
	struct slots used = runner_used(r);
	struct error err = {0};

	/* Its keeper is about to begin. */
	if (w && w->pidfd >= 0)
		return 0;
	/* Settings have changed since it was taken. */
	if (slots_check(&r->slots, entry->job.cpus, entry->job.memory_bytes, &r->refusal) < 0) {
		r->refused = entry->id;
		return 1;
	}
	if (!slots_fit(&r->slots, &used, entry->job.cpus, entry->job.memory_bytes))
		return 1;
	if (runner_spawn(r, entry, &err) == 0)
		return 0;
	log_warning("job %s: %s, retrying in 1 s", entry->job.id, err.text);
	return 1;
}

static int runner_start_jobs(struct runner *r, struct error *err)
{
	int ret;

	if (deadline_left_ms(r->hold) > 0)
		return 0;
	do {
		r->refused = 0;
		ret = entry_list(r->db, ENTRY_QUEUED, runner_consider, r, err);
		if (r->refused)
			ret = entry_refuse(r->db, r->refused, EXIT_WNODES, r->refusal.text,
				lrms_now_us(), err);
		if (r->refused)
			wake_touch(r->directory);
	} while (ret >= 0 && r->refused);
	return MIN_OF(ret, 0);
}

static int stop_at_first(const struct entry *entry, void *userdata)
{
	return 1;
}

/* Returns 1 if there are queued or running jobs, 0 if there are none, or negative errno. */
static int runner_has_work(struct runner *r, struct error *err)
{
	return entry_list(r->db, ENTRY_ACTIVE, stop_at_first, NULL, err);
}

static int runner_look(struct runner *r, struct error *err)
{
	int ret = local_settle(r->db, err);

	if (ret > 0)
		wake_touch(r->directory);
	if (ret >= 0)
		ret = entry_list(r->db, ENTRY_RUNNING, runner_adopt, r, err);
	if (ret >= 0)
		ret = runner_start_jobs(r, err);
	if (ret >= 0)
		ret = runner_has_work(r, err);
	return ret;
}

/* Brings what runs in line with what is wanted. Harmless at any time. */
static void runner_pass(struct runner *r)
{
	struct error err = {0};
	int ret = runner_look(r, &err);

	if (ret >= 0)
		r->failures = 0;
	else
		log_warning("%s, retrying in 1 s", err.text[0] ? err.text : strerror(-ret));
	if (ret == 0 || (ret < 0 && ++r->failures >= FAILURES_MAX))
		sd_event_exit(r->event, ret);
}

static int on_wake(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct runner *r = userdata;

	wake_drain(r->wake_fd);
	runner_pass(r);
	return 0;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct runner *r = userdata;

	if (r->limits)
		r->limits(r->options);
	slots_get(r->options, &r->slots);
	runner_pass(r);
	sd_event_source_set_time_relative(source, TICK_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct runner *r = userdata;

	r->told = true;
	return sd_event_exit(r->event, 0);
}

static int runner_watch_all(struct runner *r)
{
	sigset_t set;
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	ret = sd_event_add_signal(r->event, NULL, SIGTERM, on_signal, r);
	if (ret >= 0)
		ret = sd_event_add_signal(r->event, NULL, SIGINT, on_signal, r);
	if (ret >= 0)
		ret = sd_event_add_io(r->event, NULL, r->wake_fd, EPOLLIN, on_wake, r);
	if (ret >= 0)
		ret = sd_event_add_time_relative(
			r->event, &r->tick, CLOCK_MONOTONIC, 0, 0, on_tick, r);
	return ret;
}

static int runner_init(struct runner *r, struct error *err)
{
	int ret = database_open(r->directory, &r->db, err);
	int64_t before_us = lrms_now_us() - (int64_t)r->options->keep_us;

	slots_get(r->options, &r->slots);
	if (ret == 0)
		ret = entry_forget(r->db, before_us, err);
	if (ret < 0)
		return ret;
	r->wake_fd = wake_open(r->directory);
	if (r->wake_fd < 0)
		return fail_errno(err, r->wake_fd, "cannot watch '%s'", r->directory);
	ret = sd_event_new(&r->event);
	if (ret >= 0)
		ret = runner_watch_all(r);
	return ret < 0 ? fail_errno(err, ret, "cannot make an event loop") : 0;
}

/* Works while it has the lock. Returns 1 if it was told to end, 0 when there is nothing to do. */
static int runner_work(struct lrms_options *options, void (*limits)(struct lrms_options *options),
	const char *directory, struct error *err)
{
	struct runner r AUTO(runner_done) = {.options = options, .limits = limits, .wake_fd = -1};
	int ret;

	r.directory = strdup(directory);
	if (!r.directory)
		return fail(err, -ENOMEM, "out of memory");
	ret = runner_init(&r, err);
	if (ret < 0)
		return ret;
	ret = sd_event_loop(r.event);
	if (ret < 0)
		return fail_errno(err, ret, "the queue's runner failed");
	return r.told;
}

/* Returns the lock, -EWOULDBLOCK if another runner is at work, or another negative errno. */
static int runner_lock(const char *directory)
{
	int fd = local_lock_runner(directory);

	for (int i = 0; i < LOCK_TRIES && fd == -EWOULDBLOCK; i++) {
		poll(NULL, 0, LOCK_PAUSE_MS);
		fd = local_lock_runner(directory);
	}
	return fd;
}

/* Is there something to do after all? Who submits a job looks for the lock only after that: either
 * it sees us without the lock, or we see the job. */
static int work_is_left(const char *directory, struct error *err)
{
	struct database *db AUTO(database_freep) = NULL;
	int ret = database_open(directory, &db, err);

	return ret < 0 ? ret : entry_list(db, ENTRY_ACTIVE, stop_at_first, NULL, err);
}

int queue_runner_run(struct lrms_options *options, void (*limits)(struct lrms_options *options),
	struct error *err)
{
	autofree char *directory = local_directory();
	int ret = 1;

	if (!directory)
		return fail(err, -ENOMEM, "out of memory");
	while (ret > 0) {
		autoclose int lock = -1;

		/* Makes the directory, too. */
		ret = work_is_left(directory, err);
		if (ret <= 0)
			return ret;
		lock = runner_lock(directory);
		if (lock == -EWOULDBLOCK)
			return 0;
		if (lock < 0)
			return fail_errno(err, lock, "cannot lock '%s'", directory);
		ret = runner_work(options, limits, directory, err);
		if (ret != 0)
			return MIN_OF(ret, 0);
		ret = 1;
	}
	return ret;
}
