#include "controller/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/job.h"
#include "controller/record_summary.h"
#include "engine/record.h"
#include "lib/timestamp.h"

#define BATCH_MAX 1000

/* A node's numbers are added up, so that none may spoil the sum of all: a hundred years, and more
 * than a machine has. */
#define TIME_MAX_US (UINT64_C(100) * 366 * 86400 * 1000000)
#define CPUS_MAX    65536
#define MEMORY_MAX  (INT64_C(1) << 50)

static const struct listing_column columns[] = {
	{"sequence", "record.sequence", LISTING_NUMBER, false, "In the order in which they came"},
	{"id", "record.id", LISTING_TEXT, true, "Its id"},
	{"month", "record.month", LISTING_TEXT, true, "Month in which the VM ended, as '2026-11'"},
	{"node", "record.node", LISTING_TEXT, true, "The node that it is of"},
	{"user", "record.username", LISTING_TEXT, true, "Whose VM it was"},
	{"account", "record.account", LISTING_TEXT, true, "Account of the job"},
	{"image", "record.image", LISTING_TEXT, true, "The image, as 'el9:2026-11'"},
	{"job", "record.job", LISTING_TEXT, true, "Job, as 'slurm.4711'"},
	{.name = NULL},
};

const struct listing record_listing = {
	.noun = "record",
	.table = "record",
	.columns = columns,
	.owner = "record.username",
	.node = "record.node",
	.item = "record.body_json",
};

struct batch {
	json_t *records;
};

static const struct field batch_fields[] = {
	{"records", FIELD_LIST, offsetof(struct batch, records), 0, BATCH_MAX, true, NULL,
		"Usage records of the node's VMs"},
	{.name = NULL},
};

/* What a record says, as far as it is looked for by it. Texts are the record's. */
struct facts {
	const char *id, *node, *user, *account;
	char image[2 * RECORD_TEXT_MAX + 2]; /* "NAME:TAG" */
	uint64_t started_us, ended_us;
	int64_t wall_us, cpu_us, cpus, memory_bytes;
	char month[8];
	bool has_job;
	struct job job;
};

static const char *text_of(json_t *record, const char *object, const char *key)
{
	return json_string_value(
		json_object_get(object ? json_object_get(record, object) : record, key));
}

static int64_t number_of(json_t *record, const char *object, const char *key, int64_t max)
{
	json_int_t number =
		json_integer_value(json_object_get(json_object_get(record, object), key));

	return MIN_OF(number, max);
}

static uint64_t time_of(json_t *record, const char *key)
{
	const char *text = text_of(record, NULL, key);
	uint64_t us = 0;

	if (!text || timestamp_parse(text, &us) < 0)
		return 0;
	return MIN_OF(us, (uint64_t)INT64_MAX);
}

static int64_t seconds_of(json_t *record, const char *key)
{
	double seconds = json_number_value(json_object_get(json_object_get(record, "usage"), key));

	return (int64_t)MIN_OF(seconds * 1e6, (double)TIME_MAX_US);
}

/* Of a job with texts of unusual length the record has what there is to know. */
static void read_job(json_t *record, struct facts *ret)
{
	struct error unused;

	ret->has_job =
		fields_parse(job_fields, json_object_get(record, "job"), &ret->job, &unused) == 0;
}

static void read_image(json_t *record, struct facts *ret)
{
	const char *name = text_of(record, "image", "name"), *tag = text_of(record, "image", "tag");

	if (name)
		snprintf(ret->image, sizeof(ret->image), "%s%s%s", name, tag ? ":" : "",
			tag ? tag : "");
}

/* Returns 0, or -EINVAL if it cannot be counted. */
static int read_facts(json_t *record, struct facts *ret, struct error *err)
{
	char ended[TIMESTAMP_TEXT_SIZE];

	*ret = (struct facts){
		.id = text_of(record, NULL, "id"),
		.node = text_of(record, NULL, "node"),
		.user = text_of(record, NULL, "user"),
		.account = text_of(record, "job", "account"),
		.started_us = time_of(record, "started"),
		.ended_us = time_of(record, "ended"),
		.cpus = number_of(record, "shape", "cpus", CPUS_MAX),
		.memory_bytes = number_of(record, "shape", "memory_bytes", MEMORY_MAX),
		.cpu_us = seconds_of(record, "cpu_user_s") + seconds_of(record, "cpu_system_s"),
	};
	if (!ret->id || ret->ended_us == 0)
		return fail(err, -EINVAL, "the usage record has no id, or no time of its end");
	if (ret->started_us > 0 && ret->started_us < ret->ended_us)
		ret->wall_us = (int64_t)MIN_OF(ret->ended_us - ret->started_us, TIME_MAX_US);
	snprintf(ret->month, sizeof(ret->month), "%.7s", timestamp_format(ret->ended_us, ended));
	read_job(record, ret);
	read_image(record, ret);
	return 0;
}

/* Is one the other without a domain? A daemon that has not joined yet calls its node by its host
 * name. */
static bool is_shorter(const char *name, const char *whole)
{
	const char *rest = name[0] ? str_after(whole, name) : NULL;

	return rest && *rest == '.';
}

/* Does a name mean this node? Its own does; another way to write it only as long as the site has no
 * node that is called so. Returns 1, 0 or negative errno. */
static int is_its_name(struct sql *db, const char *told, const char *node, struct error *err)
{
	int64_t there;
	int r;

	if (streq(told, node))
		return 1;
	if (!is_shorter(told, node) && !is_shorter(node, told))
		return 0;
	r = sql_get_number(db, err, &there, "SELECT 1 FROM node WHERE name = ?1", sql_text(told));
	return r < 0 ? r : r == 0;
}

/* A record is of the node that delivers it, and has its name at the site from here on, so that no
 * two nodes are mixed up. Returns 0, -EINVAL if it is another's, or another negative errno. */
static int take_node(
	struct exchange *x, struct sql *db, struct facts *f, json_t *record, struct error *err)
{
	const char *told = f->node ? f->node : "";
	int r = is_its_name(db, told, x->caller.name, err);

	if (r == 0)
		return fail(err, -EINVAL, "node '%s' delivers a record of node '%.128s'",
			x->caller.name, told);
	if (r < 0)
		return r == -EINVAL ? -EIO : r;
	if (json_object_set_new(record, "node", json_string(x->caller.name)) < 0)
		return fail(err, -ENOMEM, "out of memory");
	f->node = x->caller.name;
	return 0;
}

/* Of an id that is known: a record of another node's is not this one, and this one would be lost
 * without a word. */
static int check_known(struct exchange *x, struct sql *db, const struct facts *f, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	char node[CALLER_NAME_MAX] = "";
	int r = sql_select(
		db, err, &rows, "SELECT node FROM record WHERE id = ?1", sql_text(f->id));

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	snprintf(node, sizeof(node), "%s", sql_rows_text(rows, 0));
	rows = sql_rows_free(rows);
	r = is_its_name(db, node, x->caller.name, err);
	if (r == 0)
		return fail(err, -EINVAL, "another node has delivered a record of this id");
	return r == -EINVAL ? -EIO : MIN_OF(r, 0);
}

/* Returns 1 if it is stored, 0 if its id is known, or negative errno. */
static int insert(struct exchange *x, struct sql *db, const struct facts *f, json_t *record,
	struct error *err)
{
	autofree char *body = json_dumps(record, JSON_COMPACT);
	char key[JOB_KEY_MAX];

	if (!body)
		return fail(err, -ENOMEM, "out of memory");
	return sql_change(db, err,
		"INSERT INTO record (sequence, id, received, ended, started, month, node, username,"
		" account, image, job, wall_us, cpu_us, cpus, memory_bytes, body_json) VALUES"
		" ((SELECT coalesce(max(sequence), 0) + 1 FROM record), ?1, ?2, ?3, ?4, ?5, ?6, ?7,"
		" ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT (id) DO NOTHING",
		sql_text(f->id), sql_number((int64_t)x->now_us), sql_number((int64_t)f->ended_us),
		sql_number((int64_t)f->started_us), sql_text(f->month), sql_text(x->caller.name),
		sql_text(f->user ? f->user : ""), sql_text(f->account),
		sql_text(f->image[0] ? f->image : NULL),
		sql_text(f->has_job ? job_key(&f->job, key) : NULL), sql_number(f->wall_us),
		sql_number(f->cpu_us), sql_number(f->cpus), sql_number(f->memory_bytes),
		sql_text(body));
}

static int count_job(struct exchange *x, struct sql *db, const struct facts *f, struct error *err)
{
	char key[JOB_KEY_MAX];
	int r = job_note(db, &f->job, f->user ? f->user : "", x->now_us, err);

	if (r == 0)
		r = sql_change_later(db, err, "UPDATE job SET records = records + 1 WHERE key = ?1",
			sql_text(job_key(&f->job, key)));
	return MIN_OF(r, 0);
}

/* Takes `record`, which was checked. As insert(); -EINVAL if it is not to be taken. */
static int store(struct exchange *x, struct sql *db, json_t *record, struct error *err)
{
	struct facts f;
	int r = read_facts(record, &f, err);

	if (r == 0)
		r = take_node(x, db, &f, record, err);
	if (r == 0) {
		r = insert(x, db, &f, record, err);
		if (r > 0 && f.has_job && count_job(x, db, &f, err) < 0)
			r = err->code;
		/* Of the database, it is no answer to the record. */
		if (r == -EINVAL)
			r = -EIO;
		if (r == 0)
			r = check_known(x, db, &f, err);
	}
	json_decref(record);
	return r;
}

static int refuse(json_t *refused, size_t index, json_t *told, const struct error *err)
{
	json_t *id = json_object_get(told, "id");

	return json_array_append_new(
		       refused, json_pack("{s:i, s:O?, s:s}", "index", (int)index, "id",
					json_is_string(id) ? id : NULL, "error", err->text)) < 0
		       ? -ENOMEM
		       : 0;
}

/* Each for itself: one that is wrong keeps no other from being stored. */
static int store_all(struct exchange *x, struct sql *db, json_t *records, int counts[2],
	json_t *refused, struct error *err)
{
	json_t *told, *record;
	size_t i;
	int r;

	json_array_foreach(records, i, told)
	{
		record = record_check(told, err);
		r = record ? store(x, db, record, err) : -EINVAL;
		if (r >= 0)
			counts[r > 0]++;
		else if (r == -EINVAL)
			r = refuse(refused, i, told, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int run_post(struct exchange *x, struct sql *db)
{
	struct batch b = {0};
	struct error err = {0};
	json_t *refused;
	int counts[2] = {0}, r, status = body_parse(x, &b);

	if (status)
		return status;
	refused = json_array();
	r = refused ? store_all(x, db, b.records, counts, refused, &err) : -ENOMEM;
	if (r < 0) {
		json_decref(refused);
		return exchange_fail_sql(x, r, &err);
	}
	return exchange_answer(x, 200,
		json_pack("{s:i, s:i, s:o}", "stored", counts[1], "known", counts[0], "refused",
			refused));
}

static const struct route_query list_queries[] = {
	{"since", "Only VMs that ended then or later", QUERY_TIME},
	{"until", "Only VMs that ended before", QUERY_TIME},
	{.name = NULL},
};

static int run_list(struct exchange *x, struct sql *db)
{
	struct listing_condition conditions[3] = {{NULL}};
	size_t count = 0;
	uint64_t us;

	if (record_get_time(x, "since", &us))
		conditions[count++] =
			(struct listing_condition){"record.ended >= ?", sql_number((int64_t)us)};
	if (record_get_time(x, "until", &us))
		conditions[count++] =
			(struct listing_condition){"record.ended < ?", sql_number((int64_t)us)};
	return listing_run_with(x, db, conditions);
}

#define READERS (ROLE_USER | ROLE_ADMINISTRATOR)

const struct route record_routes[] = {
	{"POST", "/v1/records", ROUTE_WRITE, ROLE_NODE, "Delivers usage records of a node's VMs",
		.body = batch_fields, .run = run_post},
	{"GET", "/v1/records", ROUTE_READ, READERS,
		"Lists usage records, in the order in which they came", .queries = list_queries,
		.listing = &record_listing, .run = run_list},
	{"GET", "/v1/records/summary", ROUTE_READ, READERS, "Sums up usage records",
		.queries = record_summary_queries, .run = record_summary_run},
	{.method = NULL},
};
