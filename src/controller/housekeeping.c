#include "controller/housekeeping.h"

#include <errno.h>
#include <malloc.h>

#include "controller/connection.h"
#include "controller/controller.h"
#include "controller/image.h"
#include "controller/node.h"
#include "controller/schema.h"
#include "controller/siteclock.h"
#include "controller/staging.h"
#include "controller/stream.h"
#include "controller/upload.h"
#include "controller/worker.h"
#include "controller/writer.h"
#include "lib/clock.h"
#include "lib/log.h"

#define SWEEP_US      1000000
#define SITE_SWEEP_US (5 * UINT64_C(1000000))
#define TRIM_US       (60 * UINT64_C(1000000))

/* The depot is cleaned for the first time an hour after the start. */
#define CLEAN_US       (24 * 3600 * UINT64_C(1000000))
#define CLEAN_FIRST_US (3600 * UINT64_C(1000000))

struct housekeeping {
	struct writer_job job; /* first: a job is its housekeeping */
	struct worker_job cleaning;
	struct controller *controller;
	sd_event_source *timer;
	uint64_t site_us; /* when the site was swept last */
	uint64_t credential_us;
	uint64_t trim_us;
	uint64_t clean_us; /* when the depot is cleaned next */
	_Atomic(bool) cleans;
	/* Of the job; the writer's while `busy`. */
	_Atomic(bool) busy;
	bool made;         /* the tables are there */
	uint64_t heard_us; /* since when nodes could be heard; as clock_now_us() */
	bool more;
};

static int on_work(struct writer_job *job, struct sql *db)
{
	struct housekeeping *h = (struct housekeeping *)(void *)job;
	const struct controller_settings *s = controller_get_settings(h->controller);
	struct node_sweep sweep = {
		.lost_after_us = s->lost_after,
		.lease_grace_us = s->lease_grace,
	};
	struct error err = {0};
	int r = h->made ? 0 : schema_make(db, &err);

	if (r == 0)
		r = siteclock_set(db, &err);
	if (r == 0) {
		h->made = true;
		sweep.now_us = siteclock_now_us();
		sweep.heard_us = sweep.now_us - (clock_now_us() - h->heard_us);
		r = node_sweep(db, &sweep, &err);
		h->more = r > 0;
	}
	if (r >= 0)
		r = image_expire_due(db, siteclock_now_us(), &err);
	h->more = h->more || r == IMAGE_EXPIRE_MAX;
	if (r >= 0)
		r = staging_sweep(db, siteclock_now_us(), &err);
	if (r < 0 && r != -ENOTCONN)
		log_warning("cannot look for lost nodes and images: %s", err.text);
	return MIN_OF(r, 0);
}

static void on_done(struct writer_job *job, int result, const struct error *err)
{
	struct housekeeping *h = (struct housekeeping *)(void *)job;

	if (result < 0) {
		/* Nobody is lost whom we could not have heard. */
		h->heard_us = clock_now_us();
		h->more = false;
	} else {
		streams_wake(h->controller->streams);
	}
	h->busy = false;
}

static void sweep_site(struct housekeeping *h)
{
	uint64_t now = clock_now_us();

	if (h->busy || (!h->more && now - h->site_us < SITE_SWEEP_US))
		return;
	h->site_us = now;
	h->busy = true;
	if (writer_add(h->controller->writer, &h->job) < 0)
		h->busy = false;
}

/* What many handshakes have left between what stays is given back to the system. */
static void trim(struct housekeeping *h)
{
	if (clock_now_us() - h->trim_us < TRIM_US)
		return;
	h->trim_us = clock_now_us();
	malloc_trim(0);
}

static void on_clean(struct worker_job *job)
{
	struct housekeeping *h =
		(struct housekeeping *)(void *)((char *)job -
						offsetof(struct housekeeping, cleaning));

	upload_collect(h->controller);
	h->cleans = false;
}

static void clean_depot(struct housekeeping *h)
{
	if (!h->controller->depot || h->cleans || clock_now_us() < h->clean_us)
		return;
	h->clean_us = clock_now_us() + CLEAN_US;
	h->cleans = true;
	if (worker_add(h->controller->worker, &h->cleaning) < 0)
		h->cleans = false;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct housekeeping *h = userdata;
	const struct controller_settings *s = controller_get_settings(h->controller);

	connections_sweep(h->controller->connections, s->request_time, s->idle_time);
	sweep_site(h);
	trim(h);
	clean_depot(h);
	if (clock_now_us() - h->credential_us >= CONTROLLER_CREDENTIAL_US) {
		h->credential_us = clock_now_us();
		controller_renew_credential(h->controller);
	}
	sd_event_source_set_time_relative(source, SWEEP_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int housekeeping_new(struct controller *c, struct housekeeping **ret, struct error *err)
{
	struct housekeeping *h = calloc(1, sizeof(*h));
	int r;

	*ret = h;
	if (!h)
		return fail(err, -ENOMEM, "out of memory");
	h->controller = c;
	h->job.work = on_work;
	h->job.done = on_done;
	h->cleaning.work = on_clean;
	h->heard_us = h->credential_us = h->trim_us = clock_now_us();
	h->clean_us = h->trim_us + CLEAN_FIRST_US;
	r = sd_event_add_time_relative(
		c->event, &h->timer, CLOCK_MONOTONIC, SWEEP_US, 0, on_timer, h);
	return r < 0 ? fail_errno(err, r, "cannot set a timer") : 0;
}

void housekeeping_stop(struct housekeeping *h)
{
	if (h)
		h->timer = sd_event_source_disable_unref(h->timer);
}

struct housekeeping *housekeeping_free(struct housekeeping *h)
{
	housekeeping_stop(h);
	free(h);
	return NULL;
}
