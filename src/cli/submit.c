/* wnodes submit: what `wnodes run` would do, as a job of the batch system. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cli/batch.h"
#include "cli/vm_options.h"
#include "engine/local.h"
#include "engine/overhead.h"
#include "lib/log.h"
#include "lib/path.h"

#define NAME_MAX_LENGTH 128

struct submit_options {
	struct vm_options vm;
	const char *name, *output, *error;
	bool no_vm;
};

static const struct verb_option options[] = {
	VM_OPTIONS(struct submit_options, vm),
	{"name", 'n', OPTION_STRING, offsetof(struct submit_options, name), "NAME",
		.help = "Name of the job in lists; the command's by default"},
	{"output", 'o', OPTION_STRING, offsetof(struct submit_options, output), "FILE",
		.complete = "file",
		.help = "File for the command's output; %j in it is the job's id. wnodes-%j.out by "
			"default"},
	{"error", 0, OPTION_STRING, offsetof(struct submit_options, error), "FILE",
		.complete = "file",
		.help = "File for the command's error output and the messages of wnodes; "
			"wnodes-%j.err by default"},
	{"no-vm", 0, OPTION_FLAG, offsetof(struct submit_options, no_vm),
		.help = "Runs the command on the machine itself, without a VM; --cpus and --memory "
			"then only count for the queue"},
	{.name = NULL},
};

/* A job on its way to the batch system. */
struct draft {
	struct batch batch;
	struct caller caller;
	struct request request;
	struct vm_options vm; /* as they were given, with the settings' values in them */
	struct lrms_submission job;
	struct strv command, environment;
	char *directory;
};

static void draft_done(struct draft *d)
{
	strv_done(&d->command);
	strv_done(&d->environment);
	free(d->directory);
	request_done(&d->request);
	caller_done(&d->caller);
	batch_done(&d->batch);
}

static int check_name(const char *name, struct error *err)
{
	if (!*name || strlen(name) > NAME_MAX_LENGTH)
		return fail(err, -EINVAL, "--name: write 1 to %d characters", NAME_MAX_LENGTH);
	for (; *name; name++)
		if ((unsigned char)*name < ' ' || *name == 0x7f)
			return fail(err, -EINVAL, "--name: control characters are not allowed");
	return 0;
}

/* A job that waits for hours should not fail then for want of a directory. */
static int check_output(
	const char *directory, const char *option, const char *file, struct error *err)
{
	autofree char *path = file[0] == '/' ? strdup(file) : path_format("%s/%s", directory, file);
	const char *name = path ? strrchr(path, '/') + 1 : NULL;
	struct stat st;
	bool there;

	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	there = stat(path, &st) == 0;
	if (!*name || (there && S_ISDIR(st.st_mode)))
		return fail(err, -EISDIR, "--%s: '%s' is a directory", option, file);
	if (there && access(path, W_OK) < 0)
		return fail_errno(err, -errno, "--%s: '%s' cannot be written", option, file);
	path[name - path - (name - path > 1)] = '\0';
	if (!there && access(path, W_OK | X_OK) < 0)
		return fail_errno(err, -errno, "--%s: no file can be made in '%s'", option, path);
	return 0;
}

/* Options that would have no effect without a VM are mistakes. */
static int check_plain(const struct vm_options *vm, struct error *err)
{
	const struct {
		const char *name;
		bool given;
	} needing[] = {
		{"image", vm->image},
		{"scratch", vm->scratch_given},
		{"disk-iops", vm->disk_iops},
		{"disk-rate", vm->disk_rate},
		{"mount", vm->mounts.count > 0},
		{"network", vm->network},
		{"accel", vm->accel},
		{"start", vm->start},
		{"report", vm->report},
		{"verbose", vm->verbose},
	};

	for (size_t i = 0; i < ARRAY_SIZE(needing); i++)
		if (needing[i].given)
			return fail(err, -EINVAL, "--%s needs a VM: leave out --no-vm or it",
				needing[i].name);
	return 0;
}

/* The same as `wnodes run` would find wrong, now and not when the job's turn comes. */
static int check_vm(struct draft *d, struct error *err)
{
	struct resources resources = RESOURCES_INIT;
	int r = vm_options_fill(&d->vm, false, &d->request, err);

	if (r == 0)
		r = local_open_image(
			d->request.image, d->request.cpus, d->request.memory_mib, &resources, err);
	local_close(&resources);
	return r;
}

/* `wnodes run` with the same options. What counts for the queue is given in numbers, whatever the
 * settings say when the job starts. */
static int make_vm_command(struct draft *d, const char *const *args, struct error *err)
{
	autofree char *program = realpath("/proc/self/exe", NULL);

	if (!program)
		return fail_errno(err, -errno, "cannot tell where wnodes is");
	d->vm.image = d->request.image;
	d->vm.cpus = d->request.cpus;
	d->vm.memory = d->request.memory_mib * VM_OPTIONS_MIB;
	d->vm.timeout = d->request.timeout_us;
	d->vm.timeout_given = true;
	strv_add_all(&d->command, program, "run", NULL);
	vm_options_unparse(&d->vm, &d->command);
	strv_add_all(&d->command, "--env=WNODES_JOB_ID", "--", NULL);
	for (; *args; args++)
		strv_add(&d->command, *args);
	return d->command.failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

static int fill_plain_environment(struct draft *d, struct error *err)
{
	struct request plain = {0};
	int r = 0;

	for (size_t i = 0; i < d->vm.env.count && r == 0; i++)
		r = request_add_env(&plain, d->vm.env.items[i], err);
	for (size_t i = 0; i < plain.env.count; i++) {
		char *equals = strchr(plain.env.items[i], '=');

		*equals = '\0';
		strv_env_set(&d->environment, plain.env.items[i], equals + 1);
	}
	request_done(&plain);
	return r;
}

static int make_plain_command(struct draft *d, const char *const *args, struct error *err)
{
	struct stat st;
	int r = check_plain(&d->vm, err);

	if (r == 0)
		r = fill_plain_environment(d, err);
	if (r < 0)
		return r;
	if (d->vm.workdir) {
		free(d->directory);
		d->directory = path_absolute(d->vm.workdir);
	}
	for (; *args; args++)
		strv_add(&d->command, *args);
	if (!d->directory || d->command.failed)
		return fail(err, -ENOMEM, "out of memory");
	if (stat(d->directory, &st) < 0 || !S_ISDIR(st.st_mode))
		return fail(err, -ENOTDIR, "--workdir: '%s' is no directory", d->directory);
	return 0;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static int fill_job(
	struct draft *d, const struct submit_options *o, const char *const *args, struct error *err)
{
	const struct settings *s = &d->batch.settings;
	bool limited = d->vm.timeout_given;

	d->job = (struct lrms_submission){
		.name = o->name ? o->name : last_part(args[0]),
		.image = o->no_vm ? NULL : d->request.image,
		.argv = args,
		.command = strv_list(&d->command),
		.environment = strv_list(&d->environment),
		.directory = d->directory,
		.output = o->output ? o->output : "wnodes-%j.out",
		.error = o->error ? o->error : "wnodes-%j.err",
		.cpus = d->vm.cpus ? d->vm.cpus : s->cpus,
		.memory_bytes = d->vm.memory ? d->vm.memory : s->memory,
		.timeout_us = limited ? d->vm.timeout : s->timeout,
		.umask = d->caller.umask,
	};
	if (d->job.image) {
		const struct overhead_shape shape = overhead_shape_of(&d->request);

		d->job.overhead_bytes = overhead_mib(&shape, d->request.memory_mib) << 20;
	}
	if (check_name(d->job.name, err) < 0)
		return err->code;
	if (check_output(d->directory, "output", d->job.output, err) < 0)
		return err->code;
	return check_output(d->directory, "error", d->job.error, err);
}

static int draft_make(
	struct draft *d, const struct submit_options *o, const char *const *args, struct error *err)
{
	int r = batch_open(&d->batch, err);

	if (r == 0)
		r = caller_load(&d->caller, err);
	if (r < 0)
		return r;
	if (!d->caller.directory)
		return fail(err, -ENOENT, "the current directory is not there any more");
	d->vm = o->vm;
	d->directory = strdup(d->caller.directory);
	d->request = (struct request){.caller = &d->caller,
		.settings = &d->batch.settings,
		.argv = (const char **)(uintptr_t)args};
	for (char **entry = environ; *entry; entry++)
		strv_add(&d->environment, *entry);
	if (o->no_vm) {
		r = make_plain_command(d, args, err);
	} else {
		r = check_vm(d, err);
		if (r == 0)
			r = make_vm_command(d, args, err);
	}
	if (r == 0 && (d->environment.failed || !d->directory))
		r = fail(err, -ENOMEM, "out of memory");
	return r < 0 ? r : fill_job(d, o, args, err);
}

static int run_submit(const void *options_struct, int arg_count, const char *const *args)
{
	struct draft draft AUTO(draft_done) = {0};
	char id[LRMS_ID_MAX] = "";
	struct error err = {0};
	struct lrms *lrms;
	int r = draft_make(&draft, options_struct, args, &err);

	if (r == 0) {
		lrms = draft.batch.lrms;
		r = lrms->operations->submit(lrms, &draft.job, id, &err);
	}
	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	puts(id);
	return 0;
}

const struct verb verb_submit = {
	.name = "submit",
	.synopsis = "[options] -- COMMAND [ARG...]",
	.summary = "Run a command in a fresh VM, as a job of the batch system",
	.about =
		"Puts a wnodes run of COMMAND into the queue of the batch system, and prints the "
		"job's id. The job starts in the current directory, with your environment and umask; "
		"its output goes to wnodes-ID.out and wnodes-ID.err there. WNODES_JOB_ID in its "
		"environment is its id.\n"
		"\n"
		"The batch system is Slurm where there is one. Everywhere else it is a queue of your "
		"own on this machine: jobs start in the order of their submission as CPUs and memory "
		"become free, none overtakes another, and the queue survives everything that its "
		"files survive. No daemon is needed: a process of yours starts the jobs, and ends "
		"when there is none left. A job that asks for more than there is is refused.\n"
		"\n"
		"wnodes queue lists the jobs, wnodes wait waits for them, wnodes cancel ends them. "
		"[lrms] in wnodes.conf chooses the batch system and how much of the machine the queue "
		"may use.",
	.examples = "# A job in a VM with four CPUs\n"
		    "wnodes submit --image debian --cpus 4 --memory 8G -- ./simulate --steps 1000\n"
		    "# Ten of them, and the exit status of the worst\n"
		    "wnodes wait $(for i in $(seq 10); do wnodes submit -- ./job $i; done)\n"
		    "# A plain job beside them\n"
		    "wnodes submit --no-vm --name merge --output merge.log -- ./merge\n",
	.options = options,
	.options_size = sizeof(struct submit_options),
	.min_args = 1,
	.max_args = -1,
	.args_complete = "command",
	.run = run_submit,
};
