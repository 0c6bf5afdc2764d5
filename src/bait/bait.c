/* The program wnodes-bait: a batch system starts it instead of a task's command, as the user, in
 * the task's cgroup, and it runs the command in a VM that is this process's child. */
#include <errno.h>

#include "bait/decide.h"
#include "bait/environment.h"
#include "bait/step.h"
#include "engine/overhead.h"
#include "engine/run.h"
#include "lib/exit.h"
#include "lib/log.h"

/* The guest's memory and what the host needs beside it are to fit into what the job was given. */
static int bait_fit_memory(const struct arguments *a, struct request *r, struct error *err)
{
	const struct overhead_shape shape = {
		.accel = r->accel == ACCEL_AUTO ? ACCEL_TCG : r->accel,
		.cpus = r->cpus,
		.network = r->network,
		.scratch = r->scratch_bytes > 0,
		.shares = r->shares.items,
		.share_count = r->shares.count,
	};
	uint64_t need;

	if (a->job_memory_mib == 0)
		return 0;
	if (a->options.memory == 0)
		return overhead_fit_guest(&shape, a->job_memory_mib << 20, 0, &r->memory_mib, err);
	need = r->memory_mib + overhead_mib(&shape, r->memory_mib);
	if (need <= a->job_memory_mib)
		return 0;
	return fail(err, -ENOMEM,
		"a VM with %llu MiB takes up to %llu MiB of the host, and the job has %llu; ask for "
		"--mem=%llu or less of the VM",
		(unsigned long long)r->memory_mib, (unsigned long long)need,
		(unsigned long long)a->job_memory_mib, (unsigned long long)need);
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
	struct options options = a->options;
	autofree char *name = NULL;
	int r = settings_load(&settings, err);

	/* srun --pty and its like give the task a terminal. */
	options.tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (options.cpus == 0)
		options.cpus = a->job_cpus;

	if (r == 0)
		r = caller_load(&caller, err);
	if (r == 0)
		r = environment_pass(&request.env, err);
	if (r == 0)
		r = options_fill_request(&options, &request, err);
	if (r == 0)
		r = bait_fit_memory(a, &request, err);
	if (r < 0)
		return r;
	name = a->local_tasks > 1 ? step_name() : NULL;
	return name ? step_run(a, name, &request, err) : run_execute(&request);
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
		return r;
	switch (d.decision.outcome) {
	case POLICY_BARE:
		return bait_become(a);
	case POLICY_REFUSED:
		return fail(err, -EPERM, "%s", d.decision.reason);
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
	r = arguments_parse(&arguments, argc, argv, &err);
	if (r == 0)
		r = bait_decide(&arguments, &err);
	if (r >= 0)
		return r;
	log_error("%s", err.text);
	return EXIT_WNODES;
}
