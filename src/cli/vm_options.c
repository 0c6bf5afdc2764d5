#include "cli/vm_options.h"

#include "engine/options.h"

struct vm_options_alone {
	struct vm_options vm;
};

static const struct verb_option rows[] = {
	VM_OPTIONS(struct vm_options_alone, vm),
	{.name = NULL},
};

int vm_options_fill(
	const struct vm_options *o, bool tty, struct request *request, struct error *err)
{
	const struct options options = {
		.image = o->image,
		.workdir = o->workdir,
		.network = o->network,
		.accel = o->accel,
		.start = o->start,
		.root = o->root,
		.report = o->report,
		.cpus = o->cpus,
		.memory = o->memory,
		.scratch = o->scratch,
		.timeout = o->timeout,
		.disk_iops = o->disk_iops,
		.disk_rate = o->disk_rate,
		.scratch_given = o->scratch_given,
		.timeout_given = o->timeout_given,
		.mounts = o->mounts.items,
		.volumes = o->volumes.items,
		.env = o->env.items,
		.tty = tty,
		.verbose = o->verbose,
	};

	return options_fill_request(&options, request, err);
}

int vm_options_unparse(const struct vm_options *options, struct strv *ret)
{
	return verb_unparse(rows, options, ret);
}
