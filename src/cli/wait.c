/* wnodes wait: until jobs have ended. */
#include <errno.h>

#include "cli/batch.h"
#include "lib/deadline.h"
#include "lib/log.h"

struct wait_options {
	uint64_t timeout;
};

static const struct verb_option options[] = {
	{"timeout", 0, OPTION_DURATION, offsetof(struct wait_options, timeout), "DURATION",
		.help = "Waits no longer than this, for all of them together; the exit status is "
			"then 124"},
	{.name = NULL},
};

/* Returns the exit status that this job stands for. */
static int wait_one(struct lrms *lrms, const char *id, uint64_t deadline)
{
	struct lrms_job job AUTO(lrms_job_done) = {0};
	struct error err = {0};
	int r = lrms->operations->wait(lrms, id, deadline, &job, &err);

	if (r < 0) {
		log_error("%s", err.text[0] ? err.text : strerror(-r));
		return r == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_WNODES;
	}
	if (job.state != LRMS_DONE && job.exit_status < 0)
		log_error("job %s: %s", id, job.reason ? job.reason : lrms_state_name(job.state));
	return lrms_job_status(&job);
}

static int run_wait(const void *options_struct, int arg_count, const char *const *args)
{
	const struct wait_options *o = options_struct;
	struct batch batch AUTO(batch_done) = {0};
	uint64_t deadline = DEADLINE_NEVER;
	struct error err = {0};
	int status = 0;

	if (batch_open(&batch, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	if (o->timeout > 0)
		deadline = deadline_now_ms() + o->timeout / 1000;
	for (int i = 0; i < arg_count; i++) {
		int one = wait_one(batch.lrms, args[i], deadline);

		status = MAX_OF(status, one);
	}
	return status;
}

const struct verb verb_wait = {
	.name = "wait",
	.synopsis = "[options] ID...",
	.summary = "Wait for jobs to end",
	.about =
		"Waits until all of these jobs have ended. The exit status is the job's: that of its "
		"command, 124 if its time ran out, 143 if it was cancelled, and 125 where nobody "
		"knows, or there is no such job. Of several jobs it is the highest.",
	.examples = "wnodes wait 12 && echo done\n"
		    "wnodes wait --timeout 10m $(wnodes queue --quiet)\n",
	.options = options,
	.options_size = sizeof(struct wait_options),
	.min_args = 1,
	.max_args = -1,
	.args_complete = "job",
	.run = run_wait,
};
