/* wnodes queue: lists jobs. */
#include <errno.h>
#include <stdio.h>

#include "cli/batch.h"
#include "cli/table.h"
#include "lib/json.h"
#include "lib/log.h"

#define SECOND_US 1000000

struct queue_options {
	bool json, all, quiet;
	const char *user;
};

static const struct verb_option options[] = {
	{"all", 'a', OPTION_FLAG, offsetof(struct queue_options, all),
		.help = "Lists also the jobs that have ended"},
	{"user", 'u', OPTION_STRING, offsetof(struct queue_options, user), "NAME",
		.help = "Lists the jobs of this user instead of your own; in Slurm only"},
	{"json", 0, OPTION_FLAG, offsetof(struct queue_options, json), .help = "Prints JSON"},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct queue_options, quiet),
		.help = "Prints ids only"},
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"id", "ID", TABLE_NUMBER},
	{"name", "NAME", TABLE_TEXT},
	{"state", "STATE", TABLE_TEXT},
	{"cpus", "CPUS", TABLE_NUMBER},
	{"memory_bytes", "MEMORY", TABLE_SIZE},
	{"image", "IMAGE", TABLE_TEXT},
	{"submitted", "SUBMITTED", TABLE_TIME},
	{"ran_us", "TIME", TABLE_DURATION},
	{"exit_status", "STATUS", TABLE_NUMBER},
	{"node", "NODE", TABLE_TEXT},
	{"reason", "REASON", TABLE_TEXT},
	{.key = NULL},
};

static json_t *make_time(int64_t us, int64_t unit_us)
{
	return us > 0 ? json_integer(us / unit_us) : json_null();
}

/* Until its end, or until now. */
static json_t *make_duration(const struct lrms_job *job)
{
	int64_t end = job->ended_us > 0 ? job->ended_us : lrms_now_us();

	/* Clocks may be set back. */
	return job->started_us > 0 ? json_integer(MAX_OF(end - job->started_us, 0)) : json_null();
}

/* What is no UTF-8, in an argument for example, cannot be in JSON. */
static json_t *make_text(const char *text)
{
	json_t *value = text ? json_string(text) : json_null();

	return value ? value : json_string("?");
}

static json_t *make_argv(const struct strv *argv)
{
	json_t *list = json_array();

	for (size_t i = 0; i < argv->count; i++)
		json_array_append_new(list, make_text(argv->items[i]));
	return list;
}

static json_t *make_row(const struct lrms_job *job)
{
	const struct {
		const char *key;
		json_t *value;
	} members[] = {
		{"id", make_text(job->id)},
		{"name", make_text(job->name)},
		{"user", make_text(job->user)},
		{"state", make_text(lrms_state_name(job->state))},
		{"cpus", json_integer((json_int_t)job->cpus)},
		{"memory_bytes", json_integer((json_int_t)job->memory_bytes)},
		{"image", make_text(job->image)},
		{"submitted", make_time(job->submitted_us, SECOND_US)},
		{"submitted_us", make_time(job->submitted_us, 1)},
		{"started_us", make_time(job->started_us, 1)},
		{"ended_us", make_time(job->ended_us, 1)},
		{"ran_us", make_duration(job)},
		{"exit_status",
			job->exit_status < 0 ? json_null() : json_integer(job->exit_status)},
		{"node", make_text(job->node)},
		{"reason", make_text(job->reason)},
		{"directory", make_text(job->directory)},
		{"argv", make_argv(&job->argv)},
	};
	json_t *row = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		json_object_set_new(row, members[i].key, members[i].value);
	return row;
}

static int add_row(const struct lrms_job *job, void *userdata)
{
	return table_add(userdata, make_row(job));
}

static int run_queue(const void *options_struct, int arg_count, const char *const *args)
{
	const struct queue_options *o = options_struct;
	const struct lrms_filter filter = {.all = o->all, .user = o->user};
	struct table *table AUTO(table_freep) = table_new(columns);
	struct batch batch AUTO(batch_done) = {0};
	struct error err = {0};
	int r = table ? batch_open(&batch, &err) : fail(&err, -ENOMEM, "out of memory");

	if (r == 0)
		r = batch.lrms->operations->list(batch.lrms, &filter, add_row, table, &err);
	if (r < 0) {
		log_error("%s", err.text[0] ? err.text : strerror(-r));
		return EXIT_WNODES;
	}
	if (o->quiet)
		table_print_member(table, "id", stdout);
	else
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	return r < 0 ? EXIT_WNODES : 0;
}

const struct verb verb_queue = {
	.name = "queue",
	.synopsis = "[options]",
	.summary = "List your jobs",
	.about =
		"Lists your queued and running jobs in the order of their submission: id, state "
		"(queued, running, done, failed, cancelled, timeout), CPUs, memory and image that it "
		"asked for, how long it runs or ran, its exit status, and why it is in its state "
		"where there is something to say.\n"
		"\n"
		"Jobs that have ended are remembered for a while: [lrms] keep in wnodes.conf.",
	.examples =
		"wnodes queue\n"
		"# What failed, and why\n"
		"wnodes queue --all --json | jq '.[] | select(.state == \"failed\") | .reason'\n",
	.options = options,
	.options_size = sizeof(struct queue_options),
	.run = run_queue,
};
