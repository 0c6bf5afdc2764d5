/* The VMs of the site, as their nodes tell. A VM is of the node that told of it first: what another
 * node says of it is refused. */
#pragma once

#include "controller/job.h"
#include "lib/uuid.h"

#define VM_DIGEST_MAX 72

/* What a node tells of one. Texts that are not known are "". */
struct vm {
	char id[UUID_TEXT_SIZE];
	char name[128], state[32], user[CALLER_NAME_MAX], image[256], digest[VM_DIGEST_MAX];
	uint64_t uid, cpus, memory_bytes, started_us;
	bool uid_given;
	json_t *job_object; /* borrowed; NULL: none */
	struct job job;
};

/* Reads what a node tells. Returns 0 or -EINVAL with what is wrong. */
int vm_parse(json_t *told, struct vm *ret, struct error *err);

/* Notes it. `jobs` is an object, whose keys become those of the jobs of which VMs have come or
 * gone. Returns 1; 0 if the VM is another node's; or negative errno. */
int vm_note(struct sql *db, const struct vm *vm, const char *node, uint64_t now_us, json_t *jobs,
	struct error *err);

/* Forgets one of the node's; all of the node's that were not noted at this time; all. Return 0 or
 * negative errno. */
int vm_forget(struct sql *db, const char *id, const char *node, json_t *jobs, struct error *err);
int vm_forget_others(
	struct sql *db, const char *node, uint64_t noted_us, json_t *jobs, struct error *err);
int vm_forget_all(struct sql *db, const char *node, struct error *err);

/* Of a node that is not heard of any more. */
int vm_lose(struct sql *db, const char *node, struct error *err);

extern const struct listing vm_listing;
extern const struct route vm_routes[];
