/* wnodes job list: jobs, and how far their VMs are. */
#include <errno.h>

#include "cli/job.h"
#include "cli/site_verb.h"
#include "lib/log.h"

struct list_options {
	struct site_list_options site; /* `all` is ours: also jobs that have ended */
	bool from_site;
};

static const struct verb_option options[] = {
	{"all", 'a', OPTION_FLAG, offsetof(struct list_options, site.all),
		.help = "Lists also the jobs that have ended"},
	{"site", 0, OPTION_FLAG, offsetof(struct list_options, from_site),
		.help = "Lists the jobs of the site with VMs; your own, for administrators those of "
			"all users"},
	SITE_FILTER(0, "user", "NAME", "With --site: only this user's jobs"),
	SITE_FILTER(
		1, "account", "NAME", "With --site: only jobs that are charged to this account"),
	SITE_FILTER(2, "partition", "NAME", "With --site: only jobs of this partition"),
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column site_columns[] = {
	{"key", "JOB", TABLE_TEXT},
	{"user", "USER", TABLE_TEXT},
	{"name", "NAME", TABLE_TEXT},
	{"partition", "PARTITION", TABLE_TEXT},
	{"account", "ACCOUNT", TABLE_TEXT},
	{"vms", "VMS", TABLE_NUMBER},
	{"records", "RECORDS", TABLE_NUMBER},
	{"first_seen", "FIRST SEEN", TABLE_TIME},
	{"last_seen", "LAST SEEN", TABLE_TIME},
	{.key = NULL},
};

static const struct site_list site_jobs = {"jobs", options, site_columns, "key", NULL};

static const struct table_column columns[] = {
	{"id", "ID", TABLE_TEXT},
	{"name", "NAME", TABLE_TEXT},
	{"state", "STATE", TABLE_TEXT},
	{"phase", "PHASE", TABLE_TEXT},
	{"node", "NODE", TABLE_TEXT},
	{"provision_us", "PROVISION", TABLE_DURATION},
	{"run_us", "RUN", TABLE_DURATION},
	{"reason", "REASON", TABLE_TEXT},
	{.key = NULL},
};

/* A job without a VM, or that has none yet. */
static int add_plain(struct table *table, json_t *job)
{
	json_t *row = json_copy(job);

	json_object_del(row, "vms");
	json_object_set(row, "run_us", json_object_get(job, "ran_us"));
	return table_add(table, row);
}

/* What the VM does not say, the job does. */
static int add_vm(struct table *table, json_t *job, json_t *vm)
{
	json_t *row = json_copy(vm), *value;
	const char *key;

	json_object_foreach(job, key, value)
	{
		const json_t *own = json_object_get(row, key);

		if (row && !streq(key, "vms") && (!own || json_is_null(own)))
			json_object_set(row, key, value);
	}
	return table_add(table, row);
}

/* Of a job that was requeued, only the VMs of its last start. */
static json_int_t last_restart(json_t *vms)
{
	json_int_t last = 0;
	json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm) last =
		MAX_OF(last, json_integer_value(json_object_get(vm, "restart")));
	return last;
}

static int add_job(struct table *table, json_t *job)
{
	json_t *vms = json_object_get(job, "vms"), *vm;
	json_int_t last = last_restart(vms);
	size_t i;
	int r = 0;

	if (json_array_size(vms) == 0)
		return add_plain(table, job);
	json_array_foreach(vms, i,
		vm) if (r == 0 && json_integer_value(json_object_get(vm, "restart")) == last) r =
		add_vm(table, job, vm);
	return r;
}

static int list_batch(const struct site_list_options *o)
{
	const struct job_filter filter = {.all = o->all};
	struct table *table AUTO(table_freep) = table_new(columns);
	json_t *jobs = NULL, *job;
	struct error err = {0};
	size_t i;
	int r = table ? job_gather(&filter, &jobs, &err) : fail(&err, -ENOMEM, "out of memory");

	json_array_foreach(jobs, i, job) if (r == 0) r = add_job(table, job);
	json_decref(jobs);
	if (r == 0 && o->quiet)
		table_print_member(table, "id", stdout);
	else if (r == 0)
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	if (r < 0) {
		log_error("%s", err.text[0] ? err.text : strerror(-r));
		return EXIT_WNODES;
	}
	return 0;
}

static int run_list(const void *options_struct, int arg_count, const char *const *args)
{
	const struct list_options *o = options_struct;
	const char *filter;

	if (o->from_site)
		return site_verb_list(&site_jobs, &o->site);
	if (site_verb_is_filtered(options, &o->site, &filter)) {
		log_error("--%s is for the jobs of the site: give --site too", filter);
		return EXIT_WNODES;
	}
	return list_batch(&o->site);
}

const struct verb verb_job_list = {
	.name = "job list",
	.synopsis = "[options]",
	.summary = "List your jobs and how far their VMs are",
	.about =
		"Lists your queued and running jobs with what the batch system says of them, and a "
		"line for each VM of a job: the phase that it is in, how long it took to the "
		"command (PROVISION), how long the command runs or ran (RUN), and why it is in its "
		"state where there is something to say.\n"
		"\n"
		"A VM is lost if it ended without telling: its starter was killed, or its node went "
		"down. VMs tell of themselves in files below ~/.local/state/wnodes/jobs, which is to "
		"be the same directory on all nodes.\n"
		"\n"
		"With --site, lists the jobs that the site's controllers have heard of by their VMs: "
		"how many run, and how many usage records have come.",
	.examples = "wnodes job list\n"
		    "# What took longest to start\n"
		    "wnodes job list --all --json | jq 'max_by(.provision_us)'\n"
		    "wnodes job list --site --account physics\n",
	.options = options,
	.options_size = sizeof(struct list_options),
	.run = run_list,
};
