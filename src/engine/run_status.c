/* What a run tells of itself on its way: one line to a user who waits for the VM, and the status
 * file of a job. */
#include <stdio.h>

#include "engine/broker.h"
#include "engine/run_private.h"
#include "engine/status_file.h"
#include "engine/status_job.h"
#include "lib/log.h"

/* A phase that is over before this is not written for itself: while a clone comes up there is
 * nothing to be read, and nothing to be paid. */
#define WRITE_AFTER_US 100000

/* How often it is written how far an image is that is waited for. */
#define WRITE_AGAIN_US 5000000

static int on_notice(sd_event_source *source, uint64_t usec, void *userdata)
{
	const struct run *run = userdata;
	/* A line is there already: the progress's own, or that of the place in the node's queue. */
	if (run->phases.now >= PHASE_RUN || run->progress ||
		broker_has_told_place(run->resources.broker))
		return 0;
	log_notice("preparing the VM: %s, %llu s so far", phase_name(run->phases.now),
		(unsigned long long)(phase_total_us(&run->phases) / 1000000));
	return 0;
}

int run_watch_start(struct run *run)
{
	uint64_t notice_us = run->request->notice_us;

	if (notice_us == 0)
		return 0;
	return sd_event_add_time_relative(
		run->event, &run->notice, CLOCK_MONOTONIC, notice_us, 0, on_notice, run);
}

static void fill_image(const struct run *run, struct status *ret)
{
	const struct resources *r = &run->resources;

	if (r->image_name)
		snprintf(ret->image, sizeof(ret->image), "%s%s%s", r->image_name,
			r->image_tag ? ":" : "", r->image_tag ? r->image_tag : "");
	else if (run->request->image)
		snprintf(ret->image, sizeof(ret->image), "%s", run->request->image);
	snprintf(ret->digest, sizeof(ret->digest), "%s", r->image_digest);
}

static void fill_phases(const struct phase_clock *c, struct status *ret)
{
	ret->phase = c->now;
	for (int i = PHASE_FETCH; i <= PHASE_STOP; i++)
		ret->phases[i] = (struct status_phase){
			.entered = c->entered[i],
			.start_us = c->entered[i] ? c->began[i] : 0,
			.duration_us = c->now == (enum phase)i ? phase_elapsed_us(c) : c->took[i],
		};
}

/* The keeper of a step's VM has no exit status to tell of: each task has its own. */
static int status_exit(const struct run *run)
{
	bool told = run->report.ended && (run->failed || !run->request->tasks);

	return told ? run->report.exit_code & 0xff : -1;
}

static void run_write_status(struct run *run)
{
	const char *waiting = broker_get_waiting(run->resources.broker);
	struct status status = {
		.job = *run->request->job,
		.accepted_us = run->accepted_us,
		.exit_status = status_exit(run),
	};
	int r;

	status_starter_set(&status.starter);
	snprintf(status.vm, sizeof(status.vm), "%s", run->rundir.name ? run->rundir.name : "");
	snprintf(status.reason, sizeof(status.reason), "%s",
		run->reason[0] || !waiting ? run->reason : waiting);
	if (run->report.times.hello > 0)
		snprintf(status.start, sizeof(status.start), "%s",
			run->report.template_key[0] ? "clone" : "boot");
	fill_image(run, &status);
	fill_phases(&run->phases, &status);
	r = status_file_write(&run->status_file, &status);
	if (r < 0)
		log_debug("cannot write the job's status: %s, ignoring", strerror(-r));
}

static int on_write(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct run *run = userdata;

	run_write_status(run);
	if (run->phases.now == PHASE_FETCH) {
		sd_event_source_set_time_relative(source, WRITE_AGAIN_US);
		sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	}
	return 0;
}

void run_note_phase(struct run *run)
{
	int enabled = SD_EVENT_OFF;

	if (!run->request->job)
		return;
	if (run->writing && run->phases.now == PHASE_FETCH)
		sd_event_source_get_enabled(run->writing, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	run->writing = sd_event_source_disable_unref(run->writing);
	sd_event_add_time_relative(
		run->event, &run->writing, CLOCK_MONOTONIC, WRITE_AFTER_US, 0, on_write, run);
}

void run_note_end(struct run *run)
{
	if (!run->request->job)
		return;
	run_write_status(run);
	status_file_sweep(&run->status_file, run->request->settings->lrms_keep);
}

void run_status_done(struct run *run)
{
	sd_event_source_disable_unref(run->notice);
	sd_event_source_disable_unref(run->writing);
	status_file_done(&run->status_file);
}
