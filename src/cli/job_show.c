/* wnodes job show: one job, with all of its VMs and their phases. */
#include <errno.h>
#include <stdio.h>

#include "cli/job.h"
#include "cli/table.h"
#include "engine/status.h"
#include "lib/log.h"

struct show_options {
	bool json;
};

static const struct verb_option options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct show_options, json), .help = "Prints JSON"},
	{.name = NULL},
};

static const struct table_column job_fields[] = {
	{"id", "Job", TABLE_TEXT},
	{"name", "Name", TABLE_TEXT},
	{"state", "State", TABLE_TEXT},
	{"submitted", "Submitted", TABLE_TIME},
	{"ran_us", "Time", TABLE_DURATION},
	{"node", "Node", TABLE_TEXT},
	{"exit_status", "Exit status", TABLE_NUMBER},
	{"reason", "Reason", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column vm_fields[] = {
	{"vm", "VM", TABLE_TEXT},
	{"id", "Step", TABLE_TEXT},
	{"restart", "Requeues", TABLE_NUMBER},
	{"node", "Node", TABLE_TEXT},
	{"image", "Image", TABLE_TEXT},
	{"digest", "Digest", TABLE_DIGEST},
	{"start", "Started by", TABLE_TEXT},
	{"phase", "Phase", TABLE_TEXT},
	{"provision_us", "Provisioning", TABLE_DURATION},
	{"run_us", "Run", TABLE_DURATION},
	{"exit_status", "Exit status", TABLE_NUMBER},
	{"reason", "Reason", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column phase_columns[] = {
	{"phase", "PHASE", TABLE_TEXT},
	{"start_us", "START", TABLE_DURATION},
	{"duration_us", "DURATION", TABLE_DURATION},
	{.key = NULL},
};

static int print_record(const struct table_column *fields, json_t *record)
{
	struct table *table AUTO(table_freep) = table_new(fields);
	int r = table ? table_add(table, json_incref(record)) : -ENOMEM;

	return r < 0 ? r : table_print_record(table, stdout);
}

static int print_phases(json_t *phases)
{
	struct table *table AUTO(table_freep) = table_new(phase_columns);
	int r = table ? 0 : -ENOMEM;
	json_t *phase;
	size_t i;

	json_array_foreach(phases, i, phase) if (r == 0) r = table_add(table, json_incref(phase));
	return r < 0 ? r : table_print(table, stdout);
}

static int print_job(json_t *job)
{
	json_t *submitted = json_object_get(job, "submitted_us"), *vm;
	size_t i;
	int r;

	if (json_is_integer(submitted))
		json_object_set_new(
			job, "submitted", json_integer(json_integer_value(submitted) / 1000000));
	r = print_record(job_fields, job);
	json_array_foreach(json_object_get(job, "vms"), i, vm)
	{
		if (r == 0) {
			printf("\n");
			r = print_record(vm_fields, vm);
		}
		if (r == 0 && json_array_size(json_object_get(vm, "phases")) > 0) {
			printf("\n");
			r = print_phases(json_object_get(vm, "phases"));
		}
	}
	return r;
}

static int print_json(json_t *job)
{
	struct table *table AUTO(table_freep) = table_new(job_fields);
	int r = table ? table_add(table, json_incref(job)) : -ENOMEM;

	return r < 0 ? r : table_print_json_record(table, stdout);
}

/* Leaves only the VMs of this step. Returns 0, or -ENOENT if there is none. */
static int keep_step(json_t *job, const char *step, struct error *err)
{
	json_t *vms = json_object_get(job, "vms");

	for (size_t i = json_array_size(vms); i-- > 0;) {
		json_t *is = json_object_get(json_array_get(vms, i), "step");

		if (!json_is_string(is) || !streq(json_string_value(is), step))
			json_array_remove(vms, i);
	}
	if (json_array_size(vms) > 0)
		return 0;
	return fail(err, -ENOENT,
		"no VM of the step '%s' of job %s is known; see `wnodes job show %s`", step,
		json_string_value(json_object_get(job, "id")),
		json_string_value(json_object_get(job, "id")));
}

/* `id` is JOB or JOB.STEP. *ret is for json_decref(). */
static int find_job(const char *id, json_t **ret, struct error *err)
{
	size_t n = strcspn(id, ".");
	const char *step = id[n] ? id + n + 1 : NULL;
	autofree char *number = strndup(id, n);
	const struct job_filter filter = {.id = number};
	json_t *jobs = NULL;
	int r;

	if (!number)
		return fail(err, -ENOMEM, "out of memory");
	if (!status_is_word(number) || (step && !status_is_word(step)))
		return fail(err, -EINVAL,
			"'%s' is no job; give JOB or JOB.STEP, as `wnodes job list` does", id);
	r = job_gather(&filter, &jobs, err);
	if (r < 0)
		return r;
	*ret = json_incref(json_array_get(jobs, 0));
	json_decref(jobs);
	if (!*ret && strchr(number, '_'))
		return fail(err, -ENOENT,
			"there is no job %s; a task of an array has a number of its own, which `squeue -o "
			"'%%i %%A'` and `sacct -o jobid,jobidraw` show",
			number);
	if (!*ret)
		return fail(
			err, -ENOENT, "there is no job %s; see `wnodes job list --all`", number);
	return step ? keep_step(*ret, step, err) : 0;
}

static int run_show(const void *options_struct, int arg_count, const char *const *args)
{
	const struct show_options *o = options_struct;
	struct error err = {0};
	json_t *job = NULL;
	int r = find_job(args[0], &job, &err);

	if (r == 0)
		r = o->json ? print_json(job) : print_job(job);
	json_decref(job);
	if (r < 0) {
		log_error("%s", err.text[0] ? err.text : strerror(-r));
		return EXIT_WNODES;
	}
	return 0;
}

const struct verb verb_job_show = {
	.name = "job show",
	.synopsis = "[options] JOB[.STEP]",
	.summary = "Show one of your jobs with its VMs",
	.about =
		"Shows what the batch system says of a job, and each VM that the job has or had: one "
		"for each step and node, and of those that were requeued, for each start. "
		"Provisioning is all the time until the command began, Run that of the command. "
		"Below them stand all phases, with their start, counted from the VM's request, and "
		"their duration.",
	.examples = "wnodes job show 12\n"
		    "wnodes job show --json 12.0 | jq '.vms[].phases'\n",
	.options = options,
	.options_size = sizeof(struct show_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "job",
	.run = run_show,
};
