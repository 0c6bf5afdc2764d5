#include "bait/requeue.h"

#include "lib/log.h"
#include "lib/parse.h"
#include "lrms/lrms.h"

/* How often the job was put back before; what is no number counts as never. */
static uint64_t count_restarts(void)
{
	const char *text = getenv("SLURM_RESTART_COUNT");
	uint64_t count = 0;

	if (text)
		parse_number(text, 0, UINT32_MAX, &count, NULL);
	return count;
}

static int requeue_in_slurm(const char *job, struct error *err)
{
	static const struct lrms_options options = {.type = "slurm"};
	struct lrms *lrms AUTO(lrms_freep) = NULL;
	int r = lrms_slurm_open(&options, &lrms, err);

	return r < 0 ? r : lrms->operations->requeue(lrms, job, err);
}

void requeue_job(const struct arguments *a, const struct settings *settings)
{
	const char *job = getenv("SLURM_JOB_ID");
	uint64_t before = count_restarts(), most = settings->lrms_requeues;
	struct error err = {0};

	if (!a->script || !a->lrms || !streq(a->lrms, "slurm") || !job)
		return;
	if (before >= most) {
		if (most > 0)
			log_error("the job has been put back into the queue %llu times already, "
				  "and fails",
				(unsigned long long)before);
		return;
	}
	if (requeue_in_slurm(job, &err) < 0) {
		log_error("the job cannot be put back into the queue, and fails: %s", err.text);
		return;
	}
	log_error("the job is put back into the queue, to start on another node (%llu of %llu)",
		(unsigned long long)before + 1, (unsigned long long)most);
}
