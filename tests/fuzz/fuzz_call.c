/* Requests to the node's daemon, as anyone can send them. */
#include <assert.h>
#include <ctype.h>

#include "engine/record.h"
#include "hypervisor/call.h"
#include "hypervisor/jobnets.h"
#include "hypervisor/peer.h"
#include "hypervisor/witness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a daemon writes of what it is told is a record, and fits into a line. */
static void check_record(const struct call *call)
{
	const struct peer peer = {.uid = 1000, .job = "17.0"};
	const struct call lent = {.op = CALL_OPEN, .image = "el9:1", .cpus = 1, .memory_mib = 1};
	const struct witness w = {.record_id = "00000000-0000-4000-8000-000000000001",
		.node = "n1",
		.peer = &peer,
		.lent = &lent,
		.digest = "d",
		.lent_us = UINT64_C(1795283460000000)};
	struct error err = {0};
	json_t *record = record_check(call->record, &err), *known = witness_new(&w), *again;
	char *text;

	assert(known && (record || err.text[0]));
	if (record) {
		witness_correct(record, known, w.lent_us + 1);
		text = json_dumps(record, JSON_COMPACT | JSON_ENSURE_ASCII);
		assert(text && strlen(text) < RECORD_LINE_MAX - 2);
		again = record_check(record, &err);
		assert(again && json_equal(again, record));
		json_decref(again);
		free(text);
	}
	json_decref(record);
	json_decref(known);
}

static void check(const struct call *call)
{
	assert(call->op < CALL_OPS);
	assert(strlen(call->image) < CALL_IMAGE_MAX && strlen(call->reason) < CALL_REASON_MAX);
	assert(!call->key[0] || digest_is_hex(call->key));
	assert(!call->digest[0] || digest_is_hex(call->digest));
	assert(call->slots <= VM_SHARES_MAX);
	assert(!call->record_id[0] || uuid_is_text(call->record_id));
	if (call->record)
		check_record(call);
	for (const char *c = call->reason; *c; c++)
		assert(!iscntrl((unsigned char)*c));
}

/* What a job's network may be is checked where it is asked for. */
static void check_job_network(const json_t *json)
{
	static char all[] = "0.0.0.0/0", *hosts[] = {all, NULL};
	static struct settings settings = {.node_job_port = 7118, .node_job_hosts = hosts};
	static struct jobnets *jobnets;
	struct jobnet_place *place = NULL;
	struct error err = {0};
	sd_event *event = NULL;

	if (!jobnets)
		assert(sd_event_new(&event) >= 0 && jobnets_new(event, &settings, &jobnets) == 0);
	if (jobnets_parse(jobnets, json, &place, &err) == 0) {
		assert(place->net.number < JOBNET_NUMBERS && place->net.self < place->net.count);
		json_decref(jobnet_to_json(place));
	}
	jobnets_close(jobnets, place, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	autofree char *text = strndup((const char *)data, size);
	char job[PEER_JOB_MAX];
	struct error err = {0};
	struct call call;

	if (json && call_parse(json, &call, &err) == 0)
		check(&call);
	check_job_network(json_object_get(json, "job_network"));
	json_decref(json);
	peer_parse_cgroup(text, 1000, job);
	return 0;
}
