#include "controller/vm.h"

#include <errno.h>

static const struct listing_column columns[] = {
	{"id", "vm.id", LISTING_TEXT, true, "Its id, which its usage record will have"},
	{"name", "vm.name", LISTING_TEXT, true, "Its name"},
	{"node", "vm.node", LISTING_TEXT, true, "The node that it is on"},
	{"state", "vm.state", LISTING_TEXT, true, "Where it is; 'unknown': its node is lost"},
	{"user", "vm.username", LISTING_TEXT, true, "Whose VM it is"},
	{"uid", "vm.uid", LISTING_NUMBER, true, "The user's number; -1: not known"},
	{"job", "vm.job", LISTING_TEXT, true, "Its job, as 'slurm.4711'; null: none"},
	{"image", "vm.image", LISTING_TEXT, true, "Its image"},
	{"digest", "vm.digest", LISTING_TEXT, true, "The image's digest"},
	{"cpus", "vm.cpus", LISTING_NUMBER, false, "Virtual CPUs"},
	{"memory_bytes", "vm.memory_bytes", LISTING_NUMBER, false, "Memory"},
	{"started", "vm.started", LISTING_TIME, false, "When it started"},
	{"updated", "vm.updated", LISTING_TIME, false, "When its node last told of it"},
	{.name = NULL},
};

const struct listing vm_listing = {
	.noun = "VM",
	.table = "vm",
	.columns = columns,
	.owner = "vm.username",
	.node = "vm.node",
};

#define FIELD(name, type, member, max, required)                                      \
	{                                                                             \
		name, type, offsetof(struct vm, member), 0, max, required, NULL, NULL \
	}
#define TEXT(name, member, required) \
	FIELD(name, FIELD_TEXT, member, sizeof(((struct vm *)0)->member), required)

static const struct field fields[] = {
	FIELD("id", FIELD_ID, id, 0, true),
	TEXT("name", name, false),
	TEXT("state", state, true),
	TEXT("user", user, true),
	{"uid", FIELD_NUMBER, offsetof(struct vm, uid), 0, UINT32_MAX, false, NULL, NULL, NULL,
		offsetof(struct vm, uid_given)},
	FIELD("job", FIELD_OBJECT, job_object, 0, false),
	TEXT("image", image, false),
	TEXT("digest", digest, false),
	FIELD("cpus", FIELD_NUMBER, cpus, 65536, false),
	FIELD("memory_bytes", FIELD_NUMBER, memory_bytes, INT64_MAX, false),
	FIELD("started", FIELD_TIME, started_us, 0, false),
	{.name = NULL},
};

int vm_parse(json_t *told, struct vm *ret, struct error *err)
{
	int r = fields_parse(fields, told, ret, err);

	if (r == 0 && ret->job_object &&
		fields_parse(job_fields, ret->job_object, &ret->job, err) < 0)
		r = fail_within(err, "'job'");
	return r;
}

static int touch_job(json_t *jobs, const char *key, struct error *err)
{
	if (!key || json_object_set_new(jobs, key, json_null()) == 0)
		return 0;
	return fail(err, -ENOMEM, "out of memory");
}

/* Runs a statement that gives back jobs of VMs. Returns how many rows, or negative errno. */
static int touch_jobs(struct sql_rows *rows, json_t *jobs, struct error *err)
{
	int count = 0, r;

	while ((r = sql_rows_next(rows, err)) > 0) {
		count++;
		r = touch_job(jobs, sql_rows_text(rows, 0), err);
		if (r < 0)
			break;
	}
	return r < 0 ? r : count;
}

int vm_note(struct sql *db, const struct vm *vm, const char *node, uint64_t now_us, json_t *jobs,
	struct error *err)
{
	char key[JOB_KEY_MAX];
	const char *job = vm->job_object ? job_key(&vm->job, key) : NULL;
	int r = sql_change(db, err,
		"INSERT INTO vm (id, name, node, state, username, uid, job, image, digest, cpus,"
		" memory_bytes, started, updated) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,"
		" ?11, ?12, ?13) ON CONFLICT (id) DO UPDATE SET name = excluded.name,"
		" state = excluded.state, username = excluded.username, uid = excluded.uid,"
		" job = coalesce(excluded.job, vm.job), image = excluded.image,"
		" digest = excluded.digest, cpus = excluded.cpus,"
		" memory_bytes = excluded.memory_bytes, started = excluded.started,"
		" updated = excluded.updated WHERE vm.node = excluded.node",
		sql_text(vm->id), sql_text(vm->name), sql_text(node), sql_text(vm->state),
		sql_text(vm->user), sql_number(vm->uid_given ? (int64_t)vm->uid : -1),
		sql_text(job), sql_text(vm->image), sql_text(vm->digest),
		sql_number((int64_t)vm->cpus), sql_number((int64_t)vm->memory_bytes),
		sql_number((int64_t)MIN_OF(vm->started_us, (uint64_t)INT64_MAX)),
		sql_number((int64_t)now_us));

	if (r <= 0 || !job)
		return r;
	r = job_note(db, &vm->job, vm->user, now_us, err);
	if (r == 0)
		r = touch_job(jobs, job, err);
	return r < 0 ? r : 1;
}

int vm_forget(struct sql *db, const char *id, const char *node, json_t *jobs, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"DELETE FROM vm WHERE id = ?1 AND node = ?2 RETURNING job", sql_text(id),
		sql_text(node));

	return r < 0 ? r : MIN_OF(touch_jobs(rows, jobs, err), 0);
}

int vm_forget_others(
	struct sql *db, const char *node, uint64_t noted_us, json_t *jobs, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows,
		"DELETE FROM vm WHERE node = ?1 AND updated <> ?2 RETURNING job", sql_text(node),
		sql_number((int64_t)noted_us));

	return r < 0 ? r : MIN_OF(touch_jobs(rows, jobs, err), 0);
}

int vm_forget_all(struct sql *db, const char *node, struct error *err)
{
	json_t *jobs = json_object();
	int r = jobs ? vm_forget_others(db, node, 0, jobs, err)
		     : fail(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = job_count_vms(db, jobs, err);
	json_decref(jobs);
	return r;
}

int vm_lose(struct sql *db, const char *node, struct error *err)
{
	return MIN_OF(sql_change(db, err, "UPDATE vm SET state = 'unknown' WHERE node = ?1",
			      sql_text(node)),
		0);
}

const struct route vm_routes[] = {
	{"GET", "/v1/vms", ROUTE_READ, ROLE_USER | ROLE_ADMINISTRATOR, "Lists VMs",
		.listing = &vm_listing},
	{"GET", "/v1/vms/{id}", ROUTE_READ, ROLE_USER | ROLE_ADMINISTRATOR, "Shows a VM",
		.listing = &vm_listing, .one = true},
	{.method = NULL},
};
