/* The program wnodes-bait: a batch system starts it instead of a task's command, as the user, in
 * the task's cgroup, and it runs the command in a VM that is this process's child. */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>

#include "bait/decide.h"
#include "bait/environment.h"
#include "bait/gang.h"
#include "bait/hostlist.h"
#include "bait/requeue.h"
#include "bait/step.h"
#include "engine/overhead.h"
#include "engine/run.h"
#include "engine/status_file.h"
#include "engine/status_job.h"
#include "lib/exit.h"
#include "lib/log.h"

/* What a user who waits in srun takes for a start like any other. */
#define NOTICE_US (UINT64_C(2) * 1000000)

/* The guest's memory and what the host needs beside it are to fit into what the job was given. */
static int bait_fit_memory(const struct arguments *a, struct request *r, struct error *err)
{
	const struct overhead_shape shape = overhead_shape_of(r);
	uint64_t need;

	if (a->job_memory_mib == 0)
		return 0;
	if (a->options.memory == 0) {
		r->allocation_mib = a->job_memory_mib;
		return overhead_fit_guest(&shape, a->job_memory_mib << 20, 0, &r->memory_mib, err);
	}
	need = r->memory_mib + overhead_mib(&shape, r->memory_mib);
	if (need <= a->job_memory_mib)
		return 0;
	return fail(err, -ENOMEM,
		"a VM with %llu MiB takes up to %llu MiB of the host, and the job has %llu; ask for "
		"--mem=%llu or less of the VM",
		(unsigned long long)r->memory_mib, (unsigned long long)need,
		(unsigned long long)a->job_memory_mib, (unsigned long long)need);
}

/* A slurmstepd that is killed ends nobody, and nobody would look after the VM. (What starts tasks
 * for other batch systems may be started anew, and its tasks are to go on.) */
static int bait_die_with_slurmstepd(const struct arguments *a, struct error *err)
{
	if (!a->lrms || !streq(a->lrms, "slurm"))
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return fail_errno(err, -errno, "prctl");
	return getppid() == 1 ? fail(err, -ECHILD, "the batch system has gone") : 0;
}

/* There is no VM that could tell of itself. Of the tasks of a step, one is enough. */
static int bait_refuse(const struct arguments *a, int r, const struct error *err)
{
	const char *local = getenv("SLURM_LOCALID");
	struct status_job job;

	if ((!local || streq(local, "0")) && status_job_find(&job))
		status_file_note_refusal(&job, a->options.image, err->text);
	return r;
}

/* The host name that the step's other nodes know this VM by, for the caller to free, and in the
 * environment those of all. A batch script runs on the first of its job's nodes alone. */
static char *bait_name_hosts(const struct arguments *a, struct request *r)
{
	const char *job = getenv("SLURM_JOB_ID"), *node = getenv("SLURMD_NODENAME");
	const char *step = a->script ? "batch" : getenv("SLURM_STEP_ID");
	const char *nodes = a->script ? node : getenv("SLURM_STEP_NODELIST");
	autofree char *all = job && step && nodes ? hostlist_vms(job, step, nodes) : NULL;

	if (all)
		strv_env_set(&r->env, "WNODES_NODELIST", all);
	r->hostname_known = r->crew || (all && strchr(all, ','));
	return job && step && node ? hostlist_vm(job, step, node) : NULL;
}

/* All that the job asks for; what is not asked for, its allocation says. */
static int bait_fill_request(const struct arguments *a, struct request *r, struct error *err)
{
	struct options options = a->options;
	int ret = environment_pass(&r->env, r->crew, err);

	/* One VM alone has nobody to reach. */
	if (r->crew && r->crew->count == 1 && options.network &&
		streq(options.network, CREW_NETWORK_NAME))
		options.network = "none";
	/* srun --pty and its like give the task a terminal. */
	options.tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (options.cpus == 0)
		options.cpus = a->job_cpus;
	if (ret == 0)
		ret = options_fill_request(&options, r, err);
	return ret < 0 ? ret : bait_fit_memory(a, r, err);
}

static int bait_execute(const struct arguments *a, struct request *asked, struct error *err)
{
	autofree char *step = a->local_tasks > 1 ? step_name() : NULL;
	autofree char *hostname = bait_name_hosts(a, asked);
	struct request r = *asked; /* what is added here is ours */
	bool node_failed = false;
	struct status_job job;
	int ret;

	r.hostname = hostname;
	r.job = status_job_find(&job) ? &job : NULL;
	r.notice_us = a->script || !environment_is_awaited() ? 0 : NOTICE_US;
	r.node_failed = &node_failed;
	ret = step ? step_run(a, step, &r, err) : run_execute(&r);
	if (node_failed)
		requeue_job(a, r.settings);
	return ret;
}

static int bait_run(const struct arguments *a, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	struct caller caller AUTO(caller_done) = {0};
	struct request request AUTO(request_done) = {.caller = &caller,
		.settings = &settings,
		.argv = a->command,
		.script = a->script ? a->command[0] : NULL,
		.alone = true,
		.patient = true,
		.record = true,
		.policy = a->policy,
		.lrms = a->lrms};
	struct gang gang AUTO(gang_done) = {.argv = {0}};
	int r = bait_die_with_slurmstepd(a, err);

	if (r == 0)
		r = gang_become_step(a, err);
	if (r == 0)
		r = settings_load(&settings, err);
	if (r == 0)
		r = gang_load(&gang, a, settings.gather, err);
	if (r > 0) {
		request.crew = &gang.crew;
		request.script = gang.script;
		if (gang.argv.count > 0)
			request.argv = (const char **)(uintptr_t)gang.argv.items;
		r = 0;
	}
	if (r == 0)
		r = caller_load(&caller, err);
	if (r == 0)
		r = bait_fill_request(a, &request, err);
	return r < 0 ? bait_refuse(a, r, err) : bait_execute(a, &request, err);
}

/* Without a VM: becomes the command, as if we had not been there. */
static int bait_become(const struct arguments *a)
{
	int r;

	execvp(a->command[0], (char *const *)(uintptr_t)a->command);
	r = errno == ENOENT ? 127 : 126;
	log_error("%s: %s", a->command[0], strerror(errno));
	return r;
}

static int bait_decide(struct arguments *a, struct error *err)
{
	struct decide d AUTO(decide_done);
	int r = decide_load(&d, settings_site_file(), a, err);

	if (r < 0)
		return bait_refuse(a, r, err);
	switch (d.decision.outcome) {
	case POLICY_BARE:
		return bait_become(a);
	case POLICY_REFUSED:
		return bait_refuse(a, fail(err, -EPERM, "%s", d.decision.reason), err);
	case POLICY_IN_VM:
		break;
	}
	return bait_run(a, err);
}

int main(int argc, char **argv)
{
	struct arguments arguments AUTO(arguments_done) = {0};
	struct error err = {0};
	int r;

	log_set("wnodes", LOG_LEVEL_WARNING);
	environment_settle();
	r = arguments_parse(&arguments, argc, argv, &err);
	if (r == 0)
		r = bait_decide(&arguments, &err);
	if (r >= 0)
		return r;
	log_error("%s", err.text);
	return EXIT_WNODES;
}
