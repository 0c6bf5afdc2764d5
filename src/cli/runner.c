/* wnodes runner: the process that starts the local queue's jobs, and the one that keeps a job. */
#include "lrms/queue_runner.h"

#include "cli/batch.h"
#include "lib/log.h"
#include "lrms/keeper.h"

struct runner_options {
	const char *job;
};

static const struct verb_option options[] = {
	{"job", 0, OPTION_STRING, offsetof(struct runner_options, job), "ID",
		.help = "Runs this job if it is queued, and waits for its end: what the runner "
			"starts for each job"},
	{.name = NULL},
};

/* Settings may change while the runner is at work; those with a mistake in them are left alone. */
static void load_limits(struct lrms_options *limits)
{
	struct batch batch AUTO(batch_done) = {0};
	struct error err = {0};

	if (batch_load(&batch, &err) < 0) {
		log_warning("%s, ignoring", err.text);
		return;
	}
	limits->cpus = batch.options.cpus;
	limits->memory_bytes = batch.options.memory_bytes;
}

static int run_runner(const void *options_struct, int arg_count, const char *const *args)
{
	const struct runner_options *o = options_struct;
	struct batch batch AUTO(batch_done) = {0};
	struct error err = {0};
	int r = batch_load(&batch, &err);

	if (r == 0)
		r = o->job ? keeper_run(&batch.options, o->job, &err)
			   : queue_runner_run(&batch.options, load_limits, &err);
	if (r < 0) {
		log_error("%s", err.text[0] ? err.text : strerror(-r));
		return EXIT_WNODES;
	}
	return 0;
}

const struct verb verb_runner = {
	.name = "runner",
	.synopsis = "[options]",
	.summary = "Start the jobs of your local queue",
	.about =
		"Starts the queued jobs of your local queue, in their order, as CPUs and memory "
		"become free, and ends when no job is left. You need not call it: wnodes submit, "
		"wnodes queue and wnodes wait start it in the background when there is something to "
		"do, and only one at a time works. What it has to say is in runner.log in "
		"~/.local/state/wnodes.\n"
		"\n"
		"It may be killed at any time. Running jobs do not notice, and the next one knows "
		"which they are.",
	.examples = "wnodes runner\n",
	.options = options,
	.options_size = sizeof(struct runner_options),
	.run = run_runner,
};
