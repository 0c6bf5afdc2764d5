/* Requests to the node's daemon, as anyone can send them. */
#include <assert.h>
#include <ctype.h>

#include "hypervisor/call.h"
#include "hypervisor/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct call *call)
{
	assert(call->op < CALL_OPS);
	assert(strlen(call->image) < CALL_IMAGE_MAX && strlen(call->reason) < CALL_REASON_MAX);
	assert(!call->key[0] || digest_is_hex(call->key));
	assert(!call->digest[0] || digest_is_hex(call->digest));
	assert(call->slots <= VM_SHARES_MAX);
	for (const char *c = call->reason; *c; c++)
		assert(!iscntrl((unsigned char)*c));
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
	json_decref(json);
	peer_parse_cgroup(text, 1000, job);
	return 0;
}
