#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "hypervisor/admission.h"
#include "hypervisor/cloud.h"
#include "hypervisor/envoy.h"
#include "hypervisor/liaison_private.h"
#include "hypervisor/porter.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/timestamp.h"

#define SECOND UINT64_C(1000000)

/* How often it is looked whether the node has joined or left, whose leases are free, and whether
 * there are new records. */
#define TICK_US (5 * SECOND)

/* Who has missed so many heartbeats is on its own, and says so. */
#define MISSED_MAX 3

/* A daemon that has just begun has heard nobody yet. */
#define BEGIN_US (30 * SECOND)

char *liaison_path(const struct liaison *l, const char *name)
{
	return path_format("%s/%s", l->hypervisor->state, name);
}

static const struct settings *settings_of(const struct liaison *l)
{
	return &l->hypervisor->settings;
}

void liaison_tell_change(struct liaison *l)
{
	if (!l->told_change)
		l->told_change = envoy_tell(l->courier, json_pack("{s:b}", "changed", true));
}

void liaison_note_change(struct liaison *l)
{
	if (l)
		liaison_tell_change(l);
}

void liaison_note_volumes(struct liaison *l)
{
	if (l && !l->told_volumes)
		l->told_volumes = envoy_tell(l->courier, json_pack("{s:b}", "volumes", true));
}

const char *liaison_node(const struct liaison *l)
{
	return l && l->open && l->name[0] ? l->name : NULL;
}

static void on_change(void *userdata)
{
	liaison_tell_change(userdata);
}

static void on_written(void *userdata)
{
	struct liaison *l = userdata;

	if (!l->open)
		return;
	outbox_sweep(l->outbox);
	liaison_tell_change(l);
}

static void on_gone(void *userdata)
{
	struct liaison *l = userdata;

	l->told_change = l->told_volumes = false;
}

static void on_packet(void *userdata, json_t *question, int fd)
{
	liaison_answer(userdata, question, fd);
}

static const struct envoy_calls calls = {.packet = on_packet, .gone = on_gone};

/* The name that the node has joined as. */
static void take_name(struct liaison *l)
{
	autofree char *path = liaison_path(l, LIAISON_NAME), *text = NULL;
	size_t length;

	if (!path || file_read(AT_FDCWD, path, sizeof(l->name) - 1, &text, &length) < 0)
		return;
	snprintf(l->name, sizeof(l->name), "%.*s", (int)strcspn(text, "\n"), text);
	if (l->name[0])
		ledger_set_node(l->hypervisor->ledger, l->name);
}

static int open_parts(struct liaison *l, struct error *err)
{
	const struct autonomy_clock now = autonomy_read_clock();
	autofree char *path = liaison_path(l, LIAISON_DIRECTORY "/autonomy");
	autofree char *leases = liaison_path(l, LIAISON_DIRECTORY "/leases-heard");
	const struct settings *s = settings_of(l);
	int r = path && leases ? block_new(l->hypervisor->state, &l->block, err)
			       : fail(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = outbox_new(l->hypervisor->state, &l->outbox, err);
	if (r == 0 && (autonomy_open(&l->autonomy, path, &now) < 0 ||
			      autonomy_open(&l->leases, leases, &now) < 0))
		r = fail(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	block_set_wanted(l->block, s->site_pool, s->site_lease_block);
	liaison_answer_load(l);
	take_name(l);
	admission_set_site(l->hypervisor->admission, true);
	porter_set_site(l->hypervisor->porter, l->name);
	return 0;
}

static void close_parts(struct liaison *l)
{
	envoy_want(l->courier, false);
	l->block = block_free(l->block);
	l->outbox = outbox_free(l->outbox);
	autonomy_done(&l->autonomy);
	autonomy_done(&l->leases);
	if (!l->hypervisor->ending) {
		porter_set_site(l->hypervisor->porter, NULL);
		admission_set_site(l->hypervisor->admission, false);
	}
	l->open = l->heard = l->alone = l->expired = false;
	l->failure[0] = l->controller[0] = l->revision[0] = '\0';
}

static bool read_stamp(const struct liaison *l, struct stat *ret)
{
	autofree char *path = liaison_path(l, LIAISON_CERTIFICATE);

	return path && stat(path, ret) == 0;
}

/* Has the certificate changed since the courier was given it? */
static bool take_stamp(struct liaison *l, const struct stat *st)
{
	int64_t ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	bool same = l->stamp.inode == st->st_ino && l->stamp.size == (uint64_t)st->st_size &&
		    l->stamp.changed_ns == ns;

	l->stamp.inode = st->st_ino;
	l->stamp.size = (uint64_t)st->st_size;
	l->stamp.changed_ns = ns;
	return !same;
}

/* Begins or ends with what people have set up. */
static void follow(struct liaison *l)
{
	char **controllers = settings_of(l)->site_controllers;
	bool wanted = controllers && controllers[0];
	struct error err = {0};
	struct stat st;

	if (!wanted || !read_stamp(l, &st)) {
		if (l->open)
			log_info("this node has no site any more");
		close_parts(l);
		return;
	}
	if (take_stamp(l, &st) && l->open) {
		envoy_renew(l->courier); /* the next one has the new certificate */
		porter_renew(l->hypervisor->porter);
	}
	if (l->open)
		return;
	if (open_parts(l, &err) < 0) {
		log_warning("%s, trying again", err.text);
		close_parts(l);
		return;
	}
	l->open = true;
	l->opened_us = clock_now_us();
	envoy_want(l->courier, true);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct liaison *l = userdata;

	follow(l);
	if (l->open) {
		block_sweep(l->block);
		outbox_sweep(l->outbox);
		liaison_look(l);
	}
	sd_event_source_set_time_relative(source, TICK_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int liaison_new(struct hypervisor *h, struct liaison **ret, struct error *err)
{
	struct liaison *l AUTO(liaison_freep) = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return fail(err, -ENOMEM, "out of memory");
	l->hypervisor = h;
	if (uuid_new(l->boot) < 0)
		return fail(err, -EIO, "cannot get random numbers");
	r = envoy_new(h, "wnodes-courier", "the site's controllers cannot be spoken with", &calls,
		l, &l->courier, err);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(h->event, &l->tick, CLOCK_MONOTONIC, 0, 0, on_tick, l);
	if (r < 0)
		return fail_errno(err, r, "cannot set up the event loop");
	drain_watch(h->drain, on_change, l);
	ledger_watch(h->ledger, on_written, l);
	/* Before the first VM comes back. */
	follow(l);
	*ret = TAKE_PTR(l);
	return 0;
}

struct liaison *liaison_free(struct liaison *l)
{
	if (!l)
		return NULL;
	if (l->courier)
		close_parts(l);
	envoy_free(l->courier);
	sd_event_source_disable_unref(l->tick);
	free(l);
	return NULL;
}

void liaison_reload(struct liaison *l)
{
	const struct settings *s = settings_of(l);

	envoy_renew(l->courier); /* it may be for other controllers */
	porter_renew(l->hypervisor->porter);
	follow(l);
	if (l->open)
		block_set_wanted(l->block, s->site_pool, s->site_lease_block);
}

static uint64_t patience_us(const struct liaison *l)
{
	return MISSED_MAX * settings_of(l)->site_heartbeat;
}

static uint64_t alone_us(const struct liaison *l)
{
	const struct autonomy_clock now = autonomy_read_clock();

	return autonomy_alone_us(&l->autonomy, &now);
}

/* Nobody answers, and it is not because we have just begun. */
static bool is_alone(const struct liaison *l, uint64_t alone)
{
	return alone > patience_us(l) &&
	       (l->heard || clock_now_us() - l->opened_us > BEGIN_US + patience_us(l));
}

/* Why nobody answers, as far as we know. */
static const char *reason_of(const struct liaison *l)
{
	if (l->failure[0])
		return l->failure;
	return envoy_is_running(l->courier) ? "wnodes-courier still waits for an answer"
					    : "wnodes-courier does not run";
}

void liaison_look(struct liaison *l)
{
	uint64_t alone = alone_us(l), most = settings_of(l)->site_autonomy;
	bool is = is_alone(l, alone), expired = is && alone > most;
	char text[FORMAT_MAX];

	if (is && !l->alone)
		log_warning("this node is on its own, and goes on for %s ([site] autonomy): %s",
			format_duration(most, text), reason_of(l));
	if (expired && !l->expired)
		log_warning("this node was on its own for longer than [site] autonomy: it takes no "
			    "VMs until a controller answers");
	if (!is && l->alone)
		log_warning("a controller of the site answers again: %s", l->controller);
	l->alone = is;
	l->expired = expired;
}

const char *liaison_refusal(struct liaison *l)
{
	char since[TIMESTAMP_TEXT_SIZE], most[FORMAT_MAX];
	uint64_t alone;

	if (!l || !l->open)
		return NULL;
	alone = alone_us(l);
	if (!is_alone(l, alone) || alone <= settings_of(l)->site_autonomy)
		return NULL;
	snprintf(l->refusal, sizeof(l->refusal),
		"no controller of its site has answered since %s, for longer than [site] autonomy "
		"(%s); start a controller, or raise that",
		timestamp_format(timestamp_now_us() - alone, since),
		format_duration(settings_of(l)->site_autonomy, most));
	return l->refusal;
}

bool liaison_leases_are_stale(const struct liaison *l)
{
	const struct autonomy_clock now = autonomy_read_clock();

	return l->leases_kept_us > 0 && autonomy_alone_us(&l->leases, &now) >= l->leases_kept_us;
}

json_t *liaison_lend(struct liaison *l, const struct block_use *use)
{
	const char *pool = settings_of(l)->site_pool;
	json_t *lease;
	bool stale;

	if (!l->open)
		return NULL;
	stale = liaison_leases_are_stale(l);
	lease = stale ? NULL : block_lend(l->block, use);
	if (!lease && pool && pool[0] && !l->lease_missing)
		log_warning("VMs start without a lease: %s of the pool '%s' %s",
			stale ? "those" : "none", pool,
			stale ? "may be others' by now, as no controller has answered for so long"
			      : "is left here");
	l->lease_missing = !lease && pool && pool[0];
	liaison_tell_change(l);
	return lease;
}

void liaison_claim(struct liaison *l, const char *vm)
{
	cloud_claim(l->hypervisor->cloud, vm);
	if (!l->open)
		return;
	json_decref(block_claim(l->block, vm));
	liaison_tell_change(l);
}

void liaison_take_back(struct liaison *l, const char *vm)
{
	if (l)
		cloud_end(l->hypervisor->cloud, vm);
	if (!l || !l->open)
		return;
	block_take_back(l->block, vm);
	liaison_tell_change(l);
}

json_t *liaison_to_json(struct liaison *l)
{
	char since[TIMESTAMP_TEXT_SIZE];
	struct block_usage leases;
	uint64_t alone;
	bool is;

	if (!l || !l->open)
		return NULL;
	alone = alone_us(l);
	is = is_alone(l, alone);
	block_get_usage(l->block, &leases);
	timestamp_format(timestamp_now_us() - alone, since);
	return json_pack("{s:s, s:s*, s:s*, s:s*, s:s*, s:b, s:I, s:I}", "node", l->name,
		"controller", l->controller[0] ? l->controller : NULL, "autonomous_since",
		is ? since : NULL, "failure", l->failure[0] ? l->failure : NULL, "configuration",
		l->revision[0] ? l->revision : NULL, "takes_vms", liaison_refusal(l) == NULL,
		"leases_ready", (json_int_t)(liaison_leases_are_stale(l) ? 0 : leases.ready),
		"leases_used", (json_int_t)leases.used);
}
