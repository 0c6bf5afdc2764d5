/* wnodes vm exec: one more command in a VM that runs. */
#include <errno.h>

#include "cli/vm.h"
#include "engine/attach.h"
#include "engine/request.h"
#include "lib/log.h"
#include "lib/path.h"

struct exec_options {
	const char *workdir;
	struct verb_list env;
	bool tty;
};

static const struct verb_option options[] = {
	{"tty", 't', OPTION_FLAG, offsetof(struct exec_options, tty),
		.help = "Gives the command a terminal"},
	{"workdir", 'w', OPTION_STRING, offsetof(struct exec_options, workdir), "DIR",
		.help = "Directory in the VM that the command starts in; / by default. A relative "
			"DIR counts from the current directory, which must then be mounted"},
	{"env", 'e', OPTION_LIST, offsetof(struct exec_options, env), "NAME[=VALUE]",
		.help = "Environment variable for the command; without a value, your own one. NAME "
			"may be a pattern such as 'OMP_*'. May be repeated"},
	{.name = NULL},
};

static int fill_request(struct request *r, const struct exec_options *o, struct error *err)
{
	int ret = 0;

	caller_fill_env(r->caller, o->tty, &r->env);
	for (size_t i = 0; i < o->env.count && ret == 0; i++)
		ret = request_add_env(r, o->env.items[i], err);
	if (ret < 0)
		return ret;
	r->workdir = o->workdir ? path_absolute(o->workdir) : strdup("/");
	return r->env.failed || !r->workdir ? fail(err, -ENOMEM, "out of memory") : 0;
}

static int exec_in(
	int socket, const struct exec_options *o, const char *const *argv, struct error *err)
{
	struct caller caller AUTO(caller_done) = {0};
	struct request request AUTO(request_done) = {.caller = &caller};
	struct attach_command command = {.argv = argv, .tty = o->tty};
	int r = caller_load(&caller, err);

	if (r == 0)
		r = fill_request(&request, o, err);
	if (r < 0)
		return r;
	command.env = strv_list(&request.env);
	command.workdir = request.workdir;
	return attach_exec(socket, &command, err);
}

static int run_exec(const void *options_struct, int arg_count, const char *const *args)
{
	struct error err = {0};
	autoclose int socket = vm_connect(args[0], &err);
	int r = socket < 0 ? socket : exec_in(socket, options_struct, args + 1, &err);

	if (err.text[0])
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : r;
}

const struct verb verb_vm_exec = {
	.name = "vm exec",
	.synopsis = "[options] VM -- COMMAND [ARG...]",
	.summary = "Run a command in a VM that is running",
	.about =
		"Runs COMMAND as you in a VM that you have started, beside the command that the VM "
		"was started for, with your own input, output and signals. The VM ends with the "
		"command that it was started for, and COMMAND with it.\n"
		"\n"
		"The exit status is as that of wnodes run.",
	.examples = "# What is going on in there\n"
		    "wnodes vm exec vm-1f2e3d4c -- ps aux\n"
		    "wnodes vm exec --tty vm-1f2e3d4c -- bash\n",
	.options = options,
	.options_size = sizeof(struct exec_options),
	.min_args = 2,
	.max_args = -1,
	.args_complete = "vm",
	.run = run_exec,
};
