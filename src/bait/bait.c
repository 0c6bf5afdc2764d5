/* The program wnodes-bait: a batch system starts it instead of a task's command, as the user, in
 * the task's cgroup, and it runs the command in a VM that is this process's child. */
#include <errno.h>

#include "bait/arguments.h"
#include "bait/environment.h"
#include "bait/step.h"
#include "engine/run.h"
#include "lib/exit.h"
#include "lib/log.h"

static int bait_run(const struct arguments *a, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	struct caller caller AUTO(caller_done) = {0};
	struct request request AUTO(request_done) = {.caller = &caller,
		.settings = &settings,
		.argv = a->command,
		.script = a->script ? a->command[0] : NULL,
		.patient = true};
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
	if (r < 0)
		return r;
	name = a->local_tasks > 1 ? step_name() : NULL;
	return name ? step_run(a, name, &request, err) : run_execute(&request);
}

int main(int argc, char **argv)
{
	struct arguments arguments AUTO(arguments_done) = {0};
	struct error err = {0};
	int r;

	log_set("wnodes", LOG_LEVEL_WARNING);
	r = arguments_parse(&arguments, argc, argv, &err);
	if (r == 0)
		r = bait_run(&arguments, &err);
	if (r >= 0)
		return r;
	log_error("%s", err.text);
	return EXIT_WNODES;
}
