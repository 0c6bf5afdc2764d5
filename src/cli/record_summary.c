/* wnodes record summary: what VMs have used, in sums. */
#include <errno.h>

#include "cli/record.h"
#include "cli/record_source.h"
#include "cli/record_value.h"
#include "cli/site_call.h"
#include "cli/table.h"
#include "lib/log.h"
#include "lib/parse.h"

#define SECOND_US 1e6
#define BY_MAX    5
#define BY_USUAL  "month,user"

struct summary_options {
	struct record_source source;
	const char *by;
	bool json;
};

static const struct verb_option options[] = {
	{"by", 0, OPTION_STRING, offsetof(struct summary_options, by), "KEYS",
		.help = "A sum for each of these: month, user, account, image, node, with commas "
			"between; month,user by default"},
	RECORD_SOURCE_OPTIONS(struct summary_options, source),
	{"json", 0, OPTION_FLAG, offsetof(struct summary_options, json), .help = "Prints JSON"},
	{.name = NULL},
};

static const char *const keys[BY_MAX] = {"month", "user", "account", "image", "node"};
static const char *const titles[BY_MAX] = {"MONTH", "USER", "ACCOUNT", "IMAGE", "NODE"};

static const struct table_column sums[] = {
	{"vms", "VMS", TABLE_NUMBER},
	{"wall_us", "TIME", TABLE_DURATION},
	{"core_us", "TIME OF ALL CPUS", TABLE_DURATION},
	{"cpu_us", "CPU TIME", TABLE_DURATION},
};

struct summary {
	size_t by[BY_MAX]; /* of keys */
	size_t by_count;
	struct table_column columns[BY_MAX + ARRAY_SIZE(sums) + 1];
	json_t *rows; /* by the values of the keys */
};

static int summary_add_key(struct summary *s, const char *word, size_t length, struct error *err)
{
	for (size_t i = 0; i < BY_MAX; i++) {
		if (strlen(keys[i]) != length || strncmp(keys[i], word, length) != 0)
			continue;
		for (size_t j = 0; j < s->by_count; j++)
			if (s->by[j] == i)
				return fail(err, -EINVAL, "--by: '%s' stands there twice", keys[i]);
		s->by[s->by_count++] = i;
		return 0;
	}
	return fail(err, -EINVAL, "--by: '%.*s' is none of month, user, account, image, node",
		(int)length, word);
}

static int summary_init(struct summary *s, const char *by, struct error *err)
{
	size_t n = 0;
	int r = 0;

	for (const char *word = by; r == 0; word += n + 1) {
		n = strcspn(word, ",");
		r = summary_add_key(s, word, n, err);
		if (!word[n])
			break;
	}
	for (size_t i = 0; i < s->by_count; i++)
		s->columns[i] = (struct table_column){keys[s->by[i]], titles[s->by[i]], TABLE_TEXT};
	memcpy(s->columns + s->by_count, sums, sizeof(sums));
	s->rows = json_object();
	return s->rows || r < 0 ? r : fail(err, -ENOMEM, "out of memory");
}

/* "2026-11", as the record's time has it (UTC); else a text of the record, or NULL. */
static json_t *key_of(const json_t *record, size_t key)
{
	const char *ended = record_value_text(record, NULL, "ended");
	autofree char *image = NULL;
	const char *text = NULL;

	switch (key) {
	case 0:
		return ended ? json_stringn(ended, strlen("2026-11")) : json_null();
	case 1:
		text = record_value_text(record, NULL, "user");
		break;
	case 2:
		text = record_value_text(record, "job", "account");
		break;
	case 3:
		text = image = record_value_image(record);
		break;
	case 4:
		text = record_value_text(record, NULL, "node");
		break;
	}
	return text ? json_string(text) : json_null();
}

static json_t *row_new(const struct summary *s, const json_t *record)
{
	json_t *row = json_object();

	for (size_t i = 0; i < s->by_count; i++)
		json_object_set_new(row, keys[s->by[i]], key_of(record, s->by[i]));
	return row;
}

/* The row that this record belongs to, made if need be; borrowed. */
static json_t *summary_row(struct summary *s, const json_t *record)
{
	json_t *fresh = row_new(s, record), *row;
	autofree char *name = fresh ? json_dumps(fresh, JSON_COMPACT) : NULL;

	row = name ? json_object_get(s->rows, name) : NULL;
	if (row || !name) {
		json_decref(fresh);
		return row;
	}
	return json_object_set_new(s->rows, name, fresh) < 0 ? NULL : fresh;
}

static void row_add(json_t *row, const char *key, json_int_t amount)
{
	json_object_set_new(
		row, key, json_integer(json_integer_value(json_object_get(row, key)) + amount));
}

/* Takes `record`. */
static int summary_add(json_t *record, void *userdata)
{
	json_t *row = summary_row(userdata, record);
	json_int_t cpus = json_integer_value(record_value_get(record, "shape", "cpus"));
	uint64_t took_us = record_value_took(record), cpu_us;

	record_value_cpu(record, &cpu_us);
	row_add(row, "vms", 1);
	row_add(row, "wall_us", (json_int_t)took_us);
	row_add(row, "core_us", (json_int_t)took_us * MAX_OF(cpus, 1));
	row_add(row, "cpu_us", (json_int_t)cpu_us);
	json_decref(record);
	return row ? 0 : -ENOMEM;
}

/* The order of the keys' values, as sort compares texts. */
static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* As the site's API has them, "wall_s" and so on in seconds; and as the table takes them. */
static const char *const names[][2] = {
	{"wall_s", "wall_us"}, {"core_s", "core_us"}, {"cpu_s", "cpu_us"}};

static json_t *row_to_api(json_t *row)
{
	json_t *copy = json_copy(row);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_int_t us = json_integer_value(json_object_get(row, names[i][1]));

		json_object_del(copy, names[i][1]);
		json_object_set_new(copy, names[i][0], json_real((double)us / SECOND_US));
	}
	return copy;
}

static json_t *row_from_api(json_t *row)
{
	json_t *copy = json_copy(row);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		double seconds = json_number_value(json_object_get(row, names[i][0]));

		json_object_set_new(
			copy, names[i][1], json_integer((json_int_t)(seconds * SECOND_US + 0.5)));
	}
	return copy;
}

static int fill_table(const struct summary *s, struct table *table, bool json)
{
	autofree const char **sorted = calloc(json_object_size(s->rows) + 1, sizeof(*sorted));
	size_t count = 0;
	const char *name;
	json_t *row;
	int r = sorted ? 0 : -ENOMEM;

	json_object_foreach(s->rows, name, row) if (sorted) sorted[count++] = name;
	if (count > 0)
		qsort(sorted, count, sizeof(*sorted), compare_names);
	for (size_t i = 0; i < count && r == 0; i++) {
		row = json_object_get(s->rows, sorted[i]);
		r = table_add(table, json ? row_to_api(row) : json_incref(row));
	}
	return r;
}

/* What only the records themselves tell apart. */
static int check_site(const struct record_source *s, struct error *err)
{
	uint64_t number;

	if (s->job)
		return fail(
			err, -EINVAL, "the site sums up no single jobs; see wnodes record list");
	if (s->user && parse_number(s->user, 0, UINT32_MAX, &number, NULL) == 0)
		return fail(err, -EINVAL, "the site sums up users by their names");
	if (s->image && !strchr(s->image, ':'))
		return fail(err, -EINVAL, "the site sums up images with their tags: %s:latest",
			s->image);
	return 0;
}

static int ask_site(const struct summary_options *o, struct table *table, struct error *err)
{
	struct site_path path AUTO(site_path_done) = {0};
	json_t *answer = NULL, *row;
	size_t i;
	int r = check_site(&o->source, err);

	if (r < 0)
		return r;
	site_path_init(&path, "records", "summary", NULL);
	site_path_add(&path, "by", o->by ? o->by : BY_USUAL);
	r = record_source_add_query(&o->source, &path, err);
	if (r == 0)
		r = site_call_ask("GET", &path, NULL, NULL, &answer, err);
	json_array_foreach(json_object_get(answer, "items"), i, row) if (r == 0) r =
		table_add(table, o->json ? json_incref(row) : row_from_api(row));
	json_decref(answer);
	return record_source_explain(&o->source, r, err);
}

static void summary_done(struct summary *s)
{
	json_decref(s->rows);
}

static int summarise(const struct summary_options *o, struct error *err)
{
	struct summary s AUTO(summary_done) = {0};
	struct table *table AUTO(table_freep) = NULL;
	int from_site = record_source_is_site(&o->source, true, err), r;

	if (from_site < 0)
		return from_site;
	r = summary_init(&s, o->by ? o->by : BY_USUAL, err);
	table = r == 0 ? table_new(s.columns) : NULL;
	if (!table)
		return r < 0 ? r : fail(err, -ENOMEM, "out of memory");
	if (from_site)
		r = ask_site(o, table, err);
	else
		r = record_source_read(&o->source, false, summary_add, &s, err);
	if (r == 0)
		r = fill_table(&s, table, o->json);
	if (r == 0)
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	return r < 0 && !err->text[0] ? fail(err, r, "out of memory") : r;
}

static int run_summary(const void *options_struct, int arg_count, const char *const *args)
{
	struct error err = {0};
	int r = summarise(options_struct, &err);

	if (r < 0)
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

const struct verb verb_record_summary = {
	.name = "record summary",
	.synopsis = "[options]",
	.summary = "Sum up what VMs have used",
	.about =
		"Sums up usage records, those of the site where wnodes.conf names its controllers, "
		"else those of this machine's files: how many VMs, how long they ran together, the "
		"same for each of their CPUs, and the CPU time that they really took. A record "
		"counts for the month (UTC) in which its VM ended.",
	.examples = "wnodes record summary --by month,account\n"
		    "# Who used most this month\n"
		    "wnodes record summary --since 720h --by user --json | jq 'max_by(.core_s)'\n",
	.options = options,
	.options_size = sizeof(struct summary_options),
	.run = run_summary,
};
