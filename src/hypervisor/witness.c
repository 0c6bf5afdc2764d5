#include "hypervisor/witness.h"

#include <stdio.h>

#include "engine/record.h"
#include "lib/timestamp.h"
#include "lrms/process.h"

/* "123.batch" is a job and its step. */
static void split_job(const char *job, char id[PEER_JOB_MAX], char step[PEER_JOB_MAX])
{
	size_t n = strcspn(job, ".");

	snprintf(id, PEER_JOB_MAX, "%.*s", (int)n, job);
	snprintf(step, PEER_JOB_MAX, "%s", job[n] ? job + n + 1 : "");
}

static void fill_image(const struct witness *w, char image[CALL_IMAGE_MAX], struct record *r)
{
	char *colon;

	if (w->own_image)
		return;
	snprintf(image, CALL_IMAGE_MAX, "%s", w->lent->image);
	colon = strchr(image, ':');
	if (colon)
		*colon = '\0';
	r->image_digest = w->digest;
	r->image_name = image;
	r->image_tag = colon ? colon + 1 : NULL;
}

json_t *witness_new(const struct witness *w)
{
	char id[PEER_JOB_MAX], step[PEER_JOB_MAX], image[CALL_IMAGE_MAX];
	struct record r = RECORD_INIT;

	split_job(w->peer->job, id, step);
	r.id = w->record_id;
	r.node = w->node;
	r.uid = w->peer->uid;
	r.gid = w->peer->gid;
	r.job.system = id[0] ? "slurm" : NULL;
	r.job.id = id;
	r.job.step = step[0] ? step : NULL;
	r.job.verified = true;
	fill_image(w, image, &r);
	r.cpus = w->lent->cpus;
	r.memory_bytes = w->lent->memory_mib << 20;
	r.scratch_bytes = w->lent->op == CALL_OPEN ? w->lent->scratch_bytes : RECORD_UNKNOWN;
	r.started_us = r.lent_us = w->lent_us;
	return record_to_json(&r);
}

/* `known` stands above what was told where it says something. */
static void lay_over(json_t *told, const json_t *known, const char *key)
{
	json_t *value = json_object_get(known, key);

	if (value && !json_is_null(value))
		json_object_set(told, key, value);
}

static void lay_over_object(json_t *told, const json_t *known, const char *key)
{
	json_t *object = json_object_get(known, key), *value;
	const char *name;

	json_object_foreach(object, name, value) if (!json_is_null(value))
		json_object_set(json_object_get(told, key), name, value);
}

static bool is_same_text(const json_t *a, const json_t *b)
{
	const char *one = json_string_value(a), *other = json_string_value(b);

	return one && other && streq(one, other);
}

/* The kernel tells the job's id and step; what its environment says beside them counts if it is the
 * environment of this job. */
static void correct_job(json_t *told, const json_t *known)
{
	static const char *const beside[] = {"name", "partition", "account"};
	json_t *job = json_object_get(told, "job"), *known_job = json_object_get(known, "job");
	json_t *corrected;

	if (!json_is_object(known_job)) {
		if (json_is_object(job))
			json_object_set_new(job, "verified", json_false());
		return;
	}
	corrected = json_deep_copy(known_job);
	if (is_same_text(json_object_get(job, "id"), json_object_get(known_job, "id")))
		for (size_t i = 0; i < ARRAY_SIZE(beside); i++)
			json_object_set(corrected, beside[i], json_object_get(job, beside[i]));
	json_object_set_new(told, "job", corrected);
}

static uint64_t time_of(const json_t *record, const char *key, uint64_t otherwise)
{
	const char *text = json_string_value(json_object_get(record, key));
	uint64_t us;

	return text && timestamp_parse(text, &us) == 0 ? us : otherwise;
}

static void set_time(json_t *record, const char *key, uint64_t us)
{
	char text[TIMESTAMP_TEXT_SIZE];

	json_object_set_new(record, key, json_string(timestamp_format(us, text)));
}

/* A VM began before it was lent, as it may have waited, and did not end before. */
static void correct_times(json_t *told, uint64_t lent_us, uint64_t ended_us)
{
	uint64_t ended = MIN_OF(time_of(told, "ended", ended_us), ended_us);

	ended = MAX_OF(ended, lent_us);
	set_time(told, "ended", ended);
	set_time(told, "started",
		MIN_OF(time_of(told, "started", ended), lent_us > 0 ? lent_us : ended));
}

void witness_correct(json_t *told, const json_t *known, uint64_t ended_us)
{
	static const char *const keys[] = {"id", "node", "uid", "gid", "lent"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		lay_over(told, known, keys[i]);
	json_object_set_new(told, "user", json_null());
	json_object_set_new(told, "source", json_string(RECORD_BY_BOTH));
	correct_job(told, known);
	lay_over_object(told, known, "image");
	lay_over_object(told, known, "shape");
	correct_times(told, time_of(known, "lent", 0), ended_us);
}

void witness_correct_usage(json_t *told, const struct witness_usage *usage)
{
	json_t *used = json_object_get(told, "usage");

	if (!usage->has_network)
		return;
	json_object_set_new(
		used, "network_received_bytes", json_integer((json_int_t)usage->received_bytes));
	json_object_set_new(
		used, "network_sent_bytes", json_integer((json_int_t)usage->sent_bytes));
}

void witness_correct_stranger(
	json_t *told, const char *node, uid_t uid, gid_t gid, uint64_t ended_us)
{
	json_object_set_new(told, "node", json_string(node));
	json_object_set_new(told, "user", json_null());
	json_object_set_new(told, "uid", json_integer(uid));
	json_object_set_new(told, "gid", json_integer(gid));
	json_object_set_new(told, "lent", json_null());
	json_object_set_new(told, "source", json_string(RECORD_BY_SPOOL));
	correct_job(told, NULL);
	correct_times(told, 0, ended_us);
}

json_t *witness_alone(const json_t *known, const struct witness_usage *usage, uint64_t ended_us,
	const char *reason)
{
	json_t *record = json_deep_copy(known), *used = json_object_get(record, "usage");

	if (!record)
		return NULL;
	json_object_set_new(record, "source", json_string(RECORD_BY_NODE));
	json_object_set_new(record, "reason", json_string(reason));
	set_time(record, "ended", MAX_OF(ended_us, time_of(known, "lent", 0)));
	if (usage && usage->known) {
		json_object_set_new(used, "cpu_user_s", json_real((double)usage->user_us / 1e6));
		json_object_set_new(
			used, "cpu_system_s", json_real((double)usage->system_us / 1e6));
		json_object_set_new(
			used, "memory_peak_bytes", json_integer((json_int_t)usage->peak_bytes));
	}
	if (usage)
		witness_correct_usage(record, usage);
	return record;
}

void witness_look(pid_t pid, struct witness_usage *usage)
{
	autofree char *stat = process_read(pid, "stat"), *status = process_read(pid, "status");
	const char *rest = stat ? strrchr(stat, ')') : NULL;
	const char *peak = status ? strstr(status, "\nVmHWM:") : NULL;
	unsigned long long user, system,
		tick_us = 1000000ULL / (unsigned long long)sysconf(_SC_CLK_TCK);

	/* proc(5): utime and stime are the fourteenth and fifteenth field. */
	if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
			     &user, &system) != 2)
		return;
	usage->known = true;
	usage->user_us = MAX_OF(usage->user_us, user * tick_us);
	usage->system_us = MAX_OF(usage->system_us, system * tick_us);
	if (peak)
		usage->peak_bytes = MAX_OF(usage->peak_bytes,
			(uint64_t)strtoull(peak + strlen("\nVmHWM:"), NULL, 10) * 1024);
}
