/* wnodes record list: usage records, the user's own and, for root, those of the node's daemon. */
#include "cli/record.h"

#include <errno.h>
#include <time.h>

#include "cli/table.h"
#include "engine/accounting.h"
#include "engine/record.h"
#include "image/locate.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/timestamp.h"

#define SECOND_US 1000000

struct list_options {
	bool json;
	const char *since, *until, *user, *job;
	struct verb_list files;
};

static const struct verb_option options[] = {
	{"since", 0, OPTION_STRING, offsetof(struct list_options, since), "TIME",
		.help = "Only of VMs that ended at this time or later: a date (2026-11-21), a time "
			"(2026-11-21T17:30:00Z), or how long ago (90m, 24h)"},
	{"until", 0, OPTION_STRING, offsetof(struct list_options, until), "TIME",
		.help = "Only of VMs that ended before this time"},
	{"user", 'u', OPTION_STRING, offsetof(struct list_options, user), "NAME",
		.help = "Only of this user's VMs, by name or number"},
	{"job", 'j', OPTION_STRING, offsetof(struct list_options, job), "ID",
		.help = "Only of the VMs of this job (17), or of one step of it (17.2)"},
	{"file", 'f', OPTION_LIST, offsetof(struct list_options, files), "FILE", .complete = "file",
		.help = "Reads this file instead of the usual ones; may be repeated"},
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
	const struct list_options *options;
	struct record_filter filter;
	struct table *table;
	json_t *seen; /* ids: a record that comes by two ways is one */
	uint64_t damaged;
	uint64_t count, took_us, cpu_us; /* of all */
};

/* "2026-11-21", of the local day. */
static int parse_day(const char *text, uint64_t *ret_us)
{
	struct tm day = {.tm_isdst = -1};
	const char *end = strptime(text, "%Y-%m-%d", &day);
	time_t seconds = end && !*end ? mktime(&day) : -1;

	if (seconds < 0)
		return -EINVAL;
	*ret_us = (uint64_t)seconds * SECOND_US;
	return 0;
}

static int parse_when(
	const char *name, const char *text, uint64_t otherwise, uint64_t *ret_us, struct error *err)
{
	uint64_t ago_us, now_us = timestamp_now_us();

	*ret_us = otherwise;
	if (!text || timestamp_parse(text, ret_us) == 0 || parse_day(text, ret_us) == 0)
		return 0;
	if (parse_duration(text, &ago_us, NULL) < 0)
		return fail(err, -EINVAL,
			"--%s: '%s' is no date (2026-11-21), no time (2026-11-21T17:30:00Z) and no "
			"duration (24h)",
			name, text);
	*ret_us = now_us - MIN_OF(ago_us, now_us);
	return 0;
}

static const char *text_of(const json_t *record, const char *key)
{
	return json_string_value(json_object_get(record, key));
}

static bool is_of_user(const json_t *record, const char *user)
{
	const char *name = text_of(record, "user");
	autofree char *number =
		path_format("%lld", (long long)json_integer_value(json_object_get(record, "uid")));

	return (name && streq(name, user)) || (number && streq(number, user));
}

/* "17", or "17.2" with its step; NULL without a job. */
static char *job_text(const json_t *record, bool step)
{
	const json_t *job = json_object_get(record, "job");
	const char *id = text_of(job, "id"), *part = step ? text_of(job, "step") : NULL;

	return id ? path_format("%s%s%s", id, part ? "." : "", part ? part : "") : NULL;
}

static bool is_of_job(const json_t *record, const char *job)
{
	autofree char *id = job_text(record, false), *step = job_text(record, true);

	return (id && streq(id, job)) || (step && streq(step, job));
}

static bool is_wanted(const struct listing *l, const json_t *record)
{
	const struct list_options *o = l->options;

	return (!o->user || is_of_user(record, o->user)) && (!o->job || is_of_job(record, o->job));
}

static uint64_t time_of(const json_t *record, const char *key)
{
	const char *text = text_of(record, key);
	uint64_t us;

	return text && timestamp_parse(text, &us) == 0 ? us : 0;
}

static json_t *sum_of(const json_t *object, const char *one, const char *other, double unit)
{
	const json_t *a = json_object_get(object, one), *b = json_object_get(object, other);

	if (!json_is_number(a) || !json_is_number(b))
		return json_null();
	return json_integer((json_int_t)((json_number_value(a) + json_number_value(b)) * unit));
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
	uint64_t started_us = time_of(record, "started"), ended_us = time_of(record, "ended");
	uint64_t took_us = started_us > 0 && ended_us > started_us ? ended_us - started_us : 0;
	json_t *usage = json_object_get(record, "usage"), *image = json_object_get(record, "image");
	json_t *cpu = sum_of(usage, "cpu_user_s", "cpu_system_s", SECOND_US);
	const char *name = text_of(image, "name"), *tag = text_of(image, "tag");

	json_object_set_new(record, "ended_s", json_integer((json_int_t)(ended_us / SECOND_US)));
	json_object_set_new(record, "job_step", text_to_json(job_text(record, true)));
	json_object_set_new(record, "image_tag",
		text_to_json(
			name ? path_format("%s%s%s", name, tag ? ":" : "", tag ? tag : "") : NULL));
	json_object_set_new(record, "took_us", json_integer((json_int_t)took_us));
	json_object_set_new(
		record, "disk_bytes", sum_of(usage, "disk_read_bytes", "disk_written_bytes", 1));
	json_object_set_new(record, "network_bytes",
		sum_of(usage, "network_received_bytes", "network_sent_bytes", 1));
	json_object_update_missing(record, json_object_get(record, "shape"));
	json_object_update_missing(record, usage);
	l->took_us += took_us;
	l->cpu_us += (uint64_t)json_integer_value(cpu);
	json_object_set_new(record, "cpu_us", cpu);
}

/* Takes `record`. */
static int add_record(struct listing *l, json_t *record)
{
	const char *id = text_of(record, "id");

	if (!is_wanted(l, record) || json_object_get(l->seen, id)) {
		json_decref(record);
		return 0;
	}
	json_object_set_new(l->seen, id, json_true());
	l->count++;
	if (!l->options->json)
		flatten(l, record);
	return table_add(l->table, record);
}

/* Files that may be missing are those that nobody has named. */
static int add_file(struct listing *l, const char *path, bool named, struct error *err)
{
	struct record_reader *reader AUTO(record_reader_freep) = NULL;
	json_t *record;
	int r;

	if (!named && access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	r = record_reader_open(path, &l->filter, &reader, err);
	while (r >= 0 && (r = record_reader_next(reader, &record, err)) == 1)
		if (add_record(l, record) < 0)
			r = fail(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	if (record_reader_damaged(reader) > 0)
		log_warning("%llu lines of '%s' are no usage records, ignoring",
			(unsigned long long)record_reader_damaged(reader), path);
	return 0;
}

static int add_usual_files(struct listing *l, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	autofree char *own = NULL, *node = NULL;
	int r = settings_load(&settings, err);

	if (r < 0)
		return r;
	own = accounting_file(&settings);
	r = own ? add_file(l, own, false, err) : 0;
	if (r < 0 || geteuid() != 0)
		return r;
	node = path_format("%s/" RECORD_FILE, locate_system_directory());
	return node ? add_file(l, node, false, err) : fail(err, -ENOMEM, "out of memory");
}

static int add_files(struct listing *l, struct error *err)
{
	const struct list_options *o = l->options;
	int r = parse_when("since", o->since, 0, &l->filter.from_us, err);

	if (r == 0)
		r = parse_when("until", o->until, UINT64_MAX, &l->filter.until_us, err);
	if (r == 0 && o->files.count == 0)
		r = add_usual_files(l, err);
	for (size_t i = 0; r == 0 && i < o->files.count; i++)
		r = add_file(l, o->files.items[i], true, err);
	return r;
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
	struct listing listing = {.options = o, .table = table, .seen = json_object()};
	struct error err = {.text = "out of memory"};
	int r = table && listing.seen ? add_files(&listing, &err) : -ENOMEM;

	if (r >= 0)
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	if (r >= 0 && !o->json)
		print_totals(&listing);
	json_decref(listing.seen);
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
		"also the daemon's.\n"
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
