#include "controller/job.h"

#include <errno.h>
#include <stdio.h>

static const struct listing_column columns[] = {
	{"key", "job.key", LISTING_TEXT, false, "Batch system and id, as 'slurm.4711'"},
	{"system", "job.system", LISTING_TEXT, true, "Batch system"},
	{"id", "job.id", LISTING_TEXT, true, "Its id there"},
	{"user", "job.username", LISTING_TEXT, true, "Whose job it is"},
	{"name", "job.name", LISTING_TEXT, true, "Its name"},
	{"partition", "job.partition_name", LISTING_TEXT, true, "Partition or queue"},
	{"account", "job.account", LISTING_TEXT, true, "Account that it is charged to"},
	{"first_seen", "job.first_seen", LISTING_TIME, false, "When a node first told of it"},
	{"last_seen", "job.last_seen", LISTING_TIME, false, "When a node last told of it"},
	{"vms", "job.vms", LISTING_NUMBER, true, "VMs that it has now"},
	{"records", "job.records", LISTING_NUMBER, false, "Usage records of it that have come"},
	{.name = NULL},
};

const struct listing job_listing = {
	.noun = "job",
	.table = "job",
	.columns = columns,
	.owner = "job.username",
};

#define FIELD(name, member, required, help)                                     \
	{                                                                       \
		name, FIELD_TEXT, offsetof(struct job, member), 0,              \
			sizeof(((struct job *)0)->member), required, NULL, help \
	}

const struct field job_fields[] = {
	FIELD("system", system, true, "Batch system, as 'slurm'"),
	FIELD("id", id, true, "Its id there"),
	FIELD("name", name, false, "Its name"),
	FIELD("partition", partition, false, "Partition or queue"),
	FIELD("account", account, false, "Account that it is charged to"),
	{.name = NULL},
};

const char *job_key(const struct job *j, char key[JOB_KEY_MAX])
{
	snprintf(key, JOB_KEY_MAX, "%s.%s", j->system, j->id);
	return key;
}

static struct sql_value text_or_null(const char *text)
{
	return sql_text(text[0] ? text : NULL);
}

int job_note(
	struct sql *db, const struct job *j, const char *user, uint64_t now_us, struct error *err)
{
	char key[JOB_KEY_MAX];
	return sql_change_later(db, err,
		"INSERT INTO job (key, system, id, username, name, partition_name, account,"
		" first_seen, last_seen, vms, records) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8,"
		" 0, 0) ON CONFLICT (key) DO UPDATE SET last_seen = excluded.last_seen,"
		" name = coalesce(excluded.name, job.name),"
		" partition_name = coalesce(excluded.partition_name, job.partition_name),"
		" account = coalesce(excluded.account, job.account)",
		sql_text(job_key(j, key)), sql_text(j->system), sql_text(j->id), sql_text(user),
		text_or_null(j->name), text_or_null(j->partition), text_or_null(j->account),
		sql_number((int64_t)now_us));
}

int job_count_vms(struct sql *db, json_t *keys, struct error *err)
{
	const char *key;
	json_t *unused;
	int r = 0;

	json_object_foreach(keys, key, unused)
	{
		r = sql_change_later(db, err,
			"UPDATE job SET vms = (SELECT count(*) FROM vm WHERE vm.job = job.key)"
			" WHERE key = ?1",
			sql_text(key));
		if (r < 0)
			return r;
	}
	return 0;
}

int job_prune(struct sql *db, uint64_t before_us, struct error *err)
{
	return sql_change(db, err,
		"DELETE FROM job WHERE vms = 0 AND key IN (SELECT key FROM job"
		" WHERE last_seen < ?1 AND vms = 0 ORDER BY last_seen LIMIT ?2)",
		sql_number((int64_t)before_us), sql_number(JOB_PRUNE_MAX));
}

const struct route job_routes[] = {
	{"GET", "/v1/jobs", ROUTE_READ, ROLE_USER | ROLE_ADMINISTRATOR, "Lists jobs",
		.listing = &job_listing},
	{"GET", "/v1/jobs/{key}", ROUTE_READ, ROLE_USER | ROLE_ADMINISTRATOR, "Shows a job",
		.listing = &job_listing, .one = true},
	{.method = NULL},
};
