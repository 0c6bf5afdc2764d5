/* A VM that has no command of its own, but runs those of others: the tasks of a step. */
#include <stdio.h>

#include "engine/run_private.h"
#include "lib/exit.h"

static void run_watch_tasks(struct run *run);

static int on_task_wait(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct run *run = userdata;
	const struct request_tasks *tasks = run->request->tasks;

	if (control_is_busy(run->control))
		run_watch_tasks(run);
	else
		run_fail(run, "only %llu of %llu tasks came", (unsigned long long)run->tasks_ended,
			(unsigned long long)tasks->count);
	return 0;
}

/* A task may have died before it came, and the others are not to wait for ever. */
static void run_watch_tasks(struct run *run)
{
	run->deadline = sd_event_source_disable_unref(run->deadline);
	sd_event_add_time_relative(run->event, &run->deadline, CLOCK_MONOTONIC,
		run->request->tasks->wait_us, 0, on_task_wait, run);
}

/* Instead of a command of our own: serves those that come. */
void run_tasks(struct run *run)
{
	run_enter(run, PHASE_RUN, 0);
	control_start_waiting(run->control);
	run_watch_tasks(run);
}

static int on_guardian_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct run *run = userdata;

	run->guardian = sd_event_source_disable_unref(run->guardian);
	run_interrupt(run, EXIT_WNODES,
		"the batch system's process that looks after the step was killed");
	return 0;
}

int run_watch_guardian(struct run *run)
{
	const struct request_tasks *tasks = run->request->tasks;
	int r = !tasks || tasks->guardian_fd < 0
			? 0
			: sd_event_add_io(run->event, &run->guardian, tasks->guardian_fd, EPOLLIN,
				  on_guardian_end, run);

	return r < 0 ? r : 0;
}

bool run_task_ended(struct run *run)
{
	run->tasks_ended++;
	if (run->tasks_ended < run->request->tasks->count || run->phases.now != PHASE_RUN)
		return false;
	run_later(run, run_stop);
	return true;
}

void run_refuse_tasks(struct run *run)
{
	char why[ERROR_TEXT_MAX];

	snprintf(why, sizeof(why), "%s: %.900s", phase_name(run->failed_in), run->reason);
	control_refuse_waiting(run->control, why);
}
