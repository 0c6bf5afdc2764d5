/* wnodes vm stop: ends VMs before their commands do. */
#include <errno.h>

#include "cli/vm.h"
#include "engine/attach.h"
#include "engine/rundir.h"
#include "lib/log.h"

struct stop_options {
	bool all;
};

static const struct verb_option options[] = {
	{"all", 'a', OPTION_FLAG, offsetof(struct stop_options, all), .help = "Stops all of yours"},
	{.name = NULL},
};

static int stop_one(const char *name, const char *path, void *userdata)
{
	struct error err = {0};
	autoclose int socket = vm_connect(name, &err);
	json_t *answer = NULL;
	int *status = userdata;

	if (socket < 0 || attach_call(socket, "stop", &answer, NULL, &err) < 0) {
		log_error("%s", err.text);
		*status = EXIT_WNODES;
	}
	json_decref(answer);
	return 0;
}

static int run_stop(const void *options_struct, int arg_count, const char *const *args)
{
	const struct stop_options *o = options_struct;
	struct error err = {0};
	int status = 0;

	if (!o->all && arg_count == 0) {
		log_error("which VM? give its name (see `wnodes vm list`) or --all");
		return EXIT_WNODES;
	}
	for (int i = 0; i < arg_count; i++)
		stop_one(args[i], NULL, &status);
	if (o->all && rundir_list(stop_one, &status, &err) < 0) {
		log_error("%s", err.text);
		status = EXIT_WNODES;
	}
	return status;
}

const struct verb verb_vm_stop = {
	.name = "vm stop",
	.synopsis = "[options] [VM...]",
	.summary = "Stop running VMs",
	.about =
		"Ends VMs at once, with the commands in them. The wnodes run that started such a VM "
		"ends with status 143.",
	.examples = "wnodes vm stop vm-1f2e3d4c\n"
		    "wnodes vm stop --all\n",
	.options = options,
	.options_size = sizeof(struct stop_options),
	.max_args = -1,
	.args_complete = "vm",
	.run = run_stop,
};
