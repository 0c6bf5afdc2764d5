#include "hypervisor/drain.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <time.h>

#include "lib/child.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#define DRAIN_FILE       "drained"
#define DRAIN_FILE_MAX   4096
#define DRAIN_REASON_MAX 320

/* A controller that is away keeps scontrol for a while; the next drain or resume tells it again. */
#define SCONTROL_US (120 * UINT64_C(1000000))

/* For how long a trial that went well speaks for the node. */
#define TRIAL_HOLDS_US (60 * UINT64_C(1000000))

struct drain {
	sd_event *event;
	const struct settings *settings;
	char *path;
	bool drained;
	bool told;          /* the batch system knows of a drain */
	bool telling_drain; /* what it is being told */
	char reason[DRAIN_REASON_MAX];
	uint64_t since; /* s since the epoch */
	uid_t by;
	uint64_t failures;              /* in a row */
	char failure[DRAIN_REASON_MAX]; /* the last one */
	struct trial *trial;
	uint64_t worked_us; /* when a VM of the node's own has started; 0: never */
	void (*changed)(void *userdata);
	void *userdata;
	sd_event_source *telling, *deadline;
	int pidfd;
};

/* What is cut off in the middle of a letter, or never was UTF-8, could not be told in JSON: not to
 * people, and not to the site. */
static void set_reason(struct drain *d, const char *reason)
{
	json_t *json;

	snprintf(d->reason, sizeof(d->reason), "%s", reason);
	json = json_string(d->reason);
	for (char *c = d->reason; !json && *c; c++)
		*c = *c & 0x80 ? '?' : *c;
	json_decref(json);
}

static int load(struct drain *d, struct error *err)
{
	autofree char *text = NULL;
	const char *reason;
	json_t *json;
	size_t length;
	int r = file_read(AT_FDCWD, d->path, DRAIN_FILE_MAX, &text, &length);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return fail_errno(err, r, "cannot read '%s'", d->path);
	/* One that cannot be understood drains all the same. */
	json = json_loadb(text, length, 0, NULL);
	reason = json_string_value(json_object_get(json, "reason"));
	d->drained = !json_is_false(json_object_get(json, "drained"));
	d->since = (uint64_t)json_integer_value(json_object_get(json, "since"));
	d->by = (uid_t)json_integer_value(json_object_get(json, "by"));
	d->told = json_is_true(json_object_get(json, "told"));
	set_reason(d, reason ? reason : "drained");
	json_decref(json);
	return 0;
}

static void telling_done(struct drain *d)
{
	d->telling = sd_event_source_disable_unref(d->telling);
	d->deadline = sd_event_source_disable_unref(d->deadline);
	d->pidfd = base_close(d->pidfd);
}

struct drain *drain_free(struct drain *d)
{
	if (!d)
		return NULL;
	if (d->pidfd >= 0)
		child_kill(d->pidfd);
	telling_done(d);
	sd_event_unref(d->event);
	free(d->path);
	free(d);
	return NULL;
}

void drain_watch(struct drain *d, void (*changed)(void *userdata), void *userdata)
{
	d->changed = changed;
	d->userdata = userdata;
}

static void tell_change(const struct drain *d)
{
	if (d->changed)
		d->changed(d->userdata);
}

const char *drain_reason(const struct drain *d)
{
	return d->drained ? d->reason : NULL;
}

static void node_name(const struct drain *d, char *ret, size_t size)
{
	const char *set = d->settings->node_name;

	if (set && set[0])
		snprintf(ret, size, "%s", set);
	else if (gethostname(ret, size - 1) < 0)
		snprintf(ret, size, "localhost");
	ret[size - 1] = '\0';
	if (!set || !set[0])
		ret[strcspn(ret, ".")] = '\0';
}

/* The file is there as long as the node is drained, or the batch system believes so. */
static int save(const struct drain *d, struct error *err)
{
	json_t *json = json_pack("{s:b, s:s, s:I, s:I, s:b}", "drained", d->drained, "reason",
		d->reason, "since", (json_int_t)d->since, "by", (json_int_t)d->by, "told", d->told);
	autofree char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	int r = text ? file_replace(AT_FDCWD, d->path, text, strlen(text), 0644) : -ENOMEM;

	json_decref(json);
	if (r < 0)
		return fail_errno(err, r, "cannot write '%s'", d->path);
	if (!d->drained && !d->told && unlink(d->path) < 0)
		return fail_errno(err, -errno, "cannot remove '%s'", d->path);
	return 0;
}

static int spawn_scontrol(struct drain *d, struct error *err)
{
	const char *argv[] = {"scontrol", "update", NULL, NULL, NULL, NULL};
	autofree char *node = NULL, *reason = path_format("reason=%s", d->reason);
	struct child_spec child = CHILD_SPEC_INIT;
	char name[256];

	node_name(d, name, sizeof(name));
	argv[2] = node = path_format("nodename=%s", name);
	argv[3] = d->drained ? "state=drain" : "state=resume";
	argv[4] = d->drained ? reason : NULL;
	if (!node || !reason)
		return -ENOMEM;
	child.argv = argv;
	child.workdir = "/";
	return child_spawn(&child, NULL, &d->pidfd, err);
}

static void tell_slurm(struct drain *d);

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	const struct drain *d = userdata;

	pidfd_send_signal(d->pidfd, SIGKILL, NULL, 0); /* on_told() follows */
	return 0;
}

static int on_told(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct drain *d = userdata;
	struct error err = {0};
	bool failed = child_wait(fd, 0) != 0;

	telling_done(d);
	if (failed) {
		log_warning("Slurm was not told of it: scontrol failed, ignoring");
		return 0;
	}
	d->told = d->telling_drain;
	if (save(d, &err) < 0)
		log_warning("%s, ignoring", err.text);
	tell_slurm(d);
	return 0;
}

static void watch_scontrol(struct drain *d)
{
	sd_event_add_io(d->event, &d->telling, d->pidfd, EPOLLIN, on_told, d);
	sd_event_add_time_relative(
		d->event, &d->deadline, CLOCK_MONOTONIC, SCONTROL_US, 0, on_deadline, d);
}

/* Tells it what it does not know yet. Takes its time, and is not waited for. */
static void tell_slurm(struct drain *d)
{
	struct error err = {0};
	int r;

	if (streq(d->settings->node_lrms, "none") || d->pidfd >= 0 || d->told == d->drained)
		return;
	d->telling_drain = d->drained;
	r = spawn_scontrol(d, &err);
	if (r == -ENOENT && streq(d->settings->node_lrms, "auto"))
		return; /* there is no Slurm here */
	if (r < 0)
		log_warning("Slurm was not told of it: %s, ignoring", err.text);
	else
		watch_scontrol(d);
}

int drain_new(sd_event *event, const struct settings *settings, const char *state,
	struct trial *trial, struct drain **ret, struct error *err)
{
	struct drain *d AUTO(drain_freep) = calloc(1, sizeof(*d));
	int r;

	if (!d || !(d->path = path_format("%s/" DRAIN_FILE, state)))
		return fail(err, -ENOMEM, "out of memory");
	d->event = sd_event_ref(event);
	d->settings = settings;
	d->trial = trial;
	d->pidfd = -1;
	r = load(d, err);
	if (r < 0)
		return r;
	tell_slurm(d); /* it may have been killed before it did */
	*ret = TAKE_PTR(d);
	return 0;
}

int drain_set(struct drain *d, const char *reason, uid_t uid, struct error *err)
{
	int r;

	d->drained = true;
	d->since = (uint64_t)time(NULL);
	d->by = uid;
	set_reason(d, reason);
	log_warning("drained: %s", d->reason);
	r = save(d, err);
	tell_change(d);
	tell_slurm(d);
	return r;
}

int drain_clear(struct drain *d, struct error *err)
{
	int r;

	d->failures = 0;
	if (!d->drained && !d->told)
		return 0;
	d->drained = false;
	log_warning("resumed");
	r = save(d, err);
	tell_change(d);
	tell_slurm(d);
	return r;
}

static void drain_itself(struct drain *d)
{
	char text[DRAIN_REASON_MAX];
	struct error err = {0};

	snprintf(text, sizeof(text), "wnodes: %llu VMs in a row did not start: %.230s",
		(unsigned long long)d->failures, d->failure);
	if (drain_set(d, text, 0, &err) < 0)
		log_warning("%s, ignoring", err.text);
}

static void on_tried(bool works, void *userdata)
{
	struct drain *d = userdata;

	if (d->drained)
		return;
	if (!works) {
		drain_itself(d);
		return;
	}
	d->worked_us = clock_now_us();
	d->failures = 0;
	log_warning("a VM of the node's own has started: it is not the node");
}

/* Those who say that their VMs did not start may lie. */
static void drain_doubt(struct drain *d, const char *digest)
{
	struct error err = {0};

	if (d->worked_us > 0 && clock_now_us() - d->worked_us < TRIAL_HOLDS_US) {
		d->failures = 0;
		return;
	}
	log_warning("%llu VMs in a row did not start: trying with one of the node's own",
		(unsigned long long)d->failures);
	if (trial_start(d->trial, digest, on_tried, d, &err) == 0)
		return;
	log_warning("it cannot be tried: %s", err.text);
	drain_itself(d);
}

void drain_note_failure(struct drain *d, uid_t uid, const char *digest, const char *reason)
{
	d->failures++;
	snprintf(d->failure, sizeof(d->failure), "%s", reason);
	log_warning("a VM of uid %u did not start: %s", (unsigned int)uid, reason);
	if (!d->drained && d->settings->node_failures > 0 &&
		d->failures >= d->settings->node_failures)
		drain_doubt(d, digest);
}

void drain_note_success(struct drain *d)
{
	d->failures = 0;
}

json_t *drain_to_json(const struct drain *d)
{
	return json_pack("{s:b, s:s*, s:I, s:I}", "drained", d->drained, "reason",
		d->drained ? d->reason : NULL, "since", d->drained ? (json_int_t)d->since : 0,
		"failures", (json_int_t)d->failures);
}
