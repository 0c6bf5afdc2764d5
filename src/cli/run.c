/* wnodes run. */
#include "cli/run.h"

#include "cli/vm_options.h"
#include "engine/run.h"
#include "engine/status_job.h"
#include "lib/log.h"

struct run_options {
	struct vm_options vm;
	bool tty;
};

static const struct verb_option options[] = {
	VM_OPTIONS(struct run_options, vm),
	{"tty", 't', OPTION_FLAG, offsetof(struct run_options, tty),
		.help = "Gives the command a terminal: job control, full-screen programs, Ctrl-C"},
	{.name = NULL},
};

static int run_run(const void *options_struct, int arg_count, const char *const *args)
{
	const struct run_options *o = options_struct;
	struct settings settings AUTO(settings_done) = {0};
	struct caller caller AUTO(caller_done) = {0};
	struct request request AUTO(request_done) = {.caller = &caller,
		.settings = &settings,
		.argv = (const char **)(uintptr_t)args,
		.record = true};
	struct status_job job;
	struct error err = {0};

	if (o->vm.verbose)
		log_set("wnodes", LOG_LEVEL_DEBUG);
	if (settings_load(&settings, &err) < 0 || caller_load(&caller, &err) < 0 ||
		vm_options_fill(&o->vm, o->tty, &request, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	request.job = status_job_find(&job) ? &job : NULL;
	return run_execute(&request);
}

const struct verb verb_run = {
	.name = "run",
	.synopsis = "[options] -- COMMAND [ARG...]",
	.summary = "Run a command in a fresh VM",
	.about =
		"Starts a VM from an image, runs COMMAND in it as you, with your current directory "
		"and your home directory at their own paths, and ends the VM. Input, output, signals "
		"and the exit status are the command's own. What the command writes elsewhere in the "
		"VM is thrown away.\n"
		"\n"
		"Neither a daemon nor root is needed. Defaults come from "
		"~/.config/wnodes/wnodes.conf, then /etc/wnodes/wnodes.conf.\n"
		"\n"
		"SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT and SIGTSTP are passed on "
		"to the command. A second SIGTERM, or ten seconds after the first, ends the VM. With "
		"--tty, the end of your terminal (SIGHUP) is the end of the command's: it is hung up, "
		"and ten seconds later the VM ends. Under nohup(1) SIGHUP is ignored.\n"
		"\n"
		"The exit status is the command's; 128+N if it died of signal N; 127 if it was not "
		"found and 126 if it could not be run; 124 if its time ran out; 125 if WNoDeS failed, "
		"and then one line says in which phase and why.",
	.examples =
		"# A program of another system, on files of this directory\n"
		"wnodes run --image debian -- python3 analyse.py data.csv\n"
		"# An interactive shell with four CPUs\n"
		"wnodes run --tty --cpus 4 --memory 4G -- bash\n"
		"# Only one directory, read-only, and no network\n"
		"wnodes run --mount none --mount /data:/in:ro --network none -- sha256sum /in/a\n",
	.options = options,
	.options_size = sizeof(struct run_options),
	.min_args = 1,
	.max_args = -1,
	.args_complete = "command",
	.run = run_run,
};
