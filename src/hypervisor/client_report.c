/* A client's VM, as the node's administrator and the site see it. */
#include "hypervisor/client_private.h"
#include "lib/clock.h"
#include "lib/timestamp.h"

json_t *client_to_json(const struct client *c)
{
	static const char *const states[] = {"idle", "fetch", "waiting", "volume", "fetch", "lent"};

	if (c->state == CLIENT_IDLE)
		return NULL;
	return json_pack("{s:I, s:s*, s:I, s:s, s:s, s:I, s:I, s:I}", "uid",
		(json_int_t)c->peer.uid, "job", c->peer.job[0] ? c->peer.job : NULL, "pid",
		(json_int_t)c->peer.pid, "image", c->image, "state", states[c->state], "cpus",
		(json_int_t)c->wanted.cpus, "memory_bytes",
		(json_int_t)c->wanted.memory_mib * 1024 * 1024, "age_us",
		(json_int_t)(clock_now_us() - (c->slot ? c->slot->since_us : c->active_us)));
}

static json_t *job_to_json(const char *job)
{
	size_t n = strcspn(job, ".");

	return json_pack("{s:s, s:s%, s:s*}", "system", "slurm", "id", job, n, "step",
		job[n] ? job + n + 1 : NULL);
}

json_t *client_to_site_json(const struct client *c)
{
	const char *lent = json_string_value(json_object_get(c->tally.known, "lent"));
	char now[TIMESTAMP_TEXT_SIZE];

	if (c->state != CLIENT_LENT || !c->tally.ledger)
		return NULL;
	return json_pack("{s:s, s:s, s:s, s:I, s:o*, s:s, s:s, s:I, s:I, s:s}", "id",
		c->tally.record_id, "name", c->wanted.name, "state",
		c->started ? "running" : "starting", "uid", (json_int_t)c->peer.uid, "job",
		c->peer.job[0] ? job_to_json(c->peer.job) : NULL, "image", c->image, "digest",
		c->digest, "cpus", (json_int_t)c->wanted.cpus, "memory_bytes",
		(json_int_t)c->wanted.memory_mib * 1024 * 1024, "started",
		lent ? lent : timestamp_format(c->tally.lent_us, now));
}
