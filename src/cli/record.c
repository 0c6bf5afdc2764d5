/* wnodes record list: usage records, the user's own and, for root, those of the node's daemon. */
#include "cli/record.h"

#include <errno.h>

#include "cli/record_source.h"
#include "cli/record_value.h"
#include "cli/table.h"
#include "lib/log.h"
#include "lib/parse.h"

#define SECOND_US 1000000

struct list_options {
	struct record_source source;
	bool json;
};

static const struct verb_option options[] = {
	RECORD_SOURCE_OPTIONS(struct list_options, source),
	{"json", 0, OPTION_FLAG, offsetof(struct list_options, json),
		.help = "Prints JSON: the records as they are"},
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"ended_s", "ENDED", TABLE_TIME},
	{"user", "USER", TABLE_TEXT},
	{"job_step", "JOB", TABLE_TEXT},
	{"image_tag", "IMAGE", TABLE_TEXT},
	{"cpus", "CPUS", TABLE_NUMBER},
	{"memory_bytes", "MEMORY", TABLE_SIZE},
	{"took_us", "TIME", TABLE_DURATION},
	{"cpu_us", "CPU TIME", TABLE_DURATION},
	{"memory_peak_bytes", "PEAK", TABLE_SIZE},
	{"disk_bytes", "DISK", TABLE_SIZE},
	{"network_bytes", "NETWORK", TABLE_SIZE},
	{"exit_status", "STATUS", TABLE_NUMBER},
	{"reason", "REASON", TABLE_TEXT},
	{.key = NULL},
};

struct listing {
	struct table *table;
	bool json;
	uint64_t count, took_us, cpu_us; /* of all */
};

static json_t *sum_of(const json_t *object, const char *one, const char *other)
{
	const json_t *a = json_object_get(object, one), *b = json_object_get(object, other);

	if (!json_is_number(a) || !json_is_number(b))
		return json_null();
	return json_integer((json_int_t)(json_number_value(a) + json_number_value(b)));
}

static json_t *text_to_json(char *text)
{
	json_t *json = text ? json_string(text) : json_null();

	free(text);
	return json ? json : json_null();
}

/* Adds what only people need: flat members for the columns. */
static void flatten(struct listing *l, json_t *record)
{
	uint64_t took_us = record_value_took(record), cpu_us;
	bool has_cpu = record_value_cpu(record, &cpu_us);
	json_t *usage = json_object_get(record, "usage");

	json_object_set_new(record, "ended_s",
		json_integer((json_int_t)(record_value_time(record, "ended") / SECOND_US)));
	json_object_set_new(record, "job_step", text_to_json(record_value_job(record, true)));
	json_object_set_new(record, "image_tag", text_to_json(record_value_image(record)));
	json_object_set_new(record, "took_us", json_integer((json_int_t)took_us));
	json_object_set_new(
		record, "disk_bytes", sum_of(usage, "disk_read_bytes", "disk_written_bytes"));
	json_object_set_new(record, "network_bytes",
		sum_of(usage, "network_received_bytes", "network_sent_bytes"));
	json_object_update_missing(record, json_object_get(record, "shape"));
	json_object_update_missing(record, usage);
	json_object_set_new(
		record, "cpu_us", has_cpu ? json_integer((json_int_t)cpu_us) : json_null());
	l->took_us += took_us;
	l->cpu_us += cpu_us;
}

/* Takes `record`. */
static int add_record(json_t *record, void *userdata)
{
	struct listing *l = userdata;

	l->count++;
	if (!l->json)
		flatten(l, record);
	return table_add(l->table, record);
}

static void print_totals(const struct listing *l)
{
	char took[FORMAT_MAX], cpu[FORMAT_MAX];

	if (l->count > 0)
		printf("\n%llu VM%s, %s, CPU time %s\n", (unsigned long long)l->count,
			l->count == 1 ? "" : "s", format_duration(l->took_us, took),
			format_duration(l->cpu_us, cpu));
}

static int run_list(const void *options_struct, int arg_count, const char *const *args)
{
	const struct list_options *o = options_struct;
	struct table *table AUTO(table_freep) = table_new(columns);
	struct listing listing = {.table = table, .json = o->json};
	struct error err = {.text = "out of memory"};
	int from_site = record_source_is_site(&o->source, false, &err);
	int r = table ? from_site : -ENOMEM;

	if (r >= 0)
		r = record_source_read(&o->source, from_site, add_record, &listing, &err);
	if (r >= 0)
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	if (r >= 0 && !o->json)
		print_totals(&listing);
	if (r < 0)
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

const struct verb verb_record_list = {
	.name = "record list",
	.synopsis = "[options]",
	.summary = "List what VMs have used, and for whom",
	.about =
		"Of each VM of wnodes run and of the batch system's jobs there is a usage record when "
		"it has ended. Those of VMs that a node's daemon has lent are in the daemon's file, "
		"which root may read; the others are in your own. This lists your own, and for root "
		"also the daemon's; with --site, those of all nodes that the site's controllers have "
		"and that you may see.\n"
		"\n"
		"DISK and NETWORK are what went in both directions. A last line sums up.",
	.examples = "wnodes record list --since 24h\n"
		    "# One job's, with all that is known of it\n"
		    "wnodes record list --job 4711 --json\n"
		    "# An older file of the node's daemon\n"
		    "wnodes record list --file /var/log/wnodes/records.jsonl.1\n",
	.options = options,
	.options_size = sizeof(struct list_options),
	.run = run_list,
};
