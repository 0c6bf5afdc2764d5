/* What a VM knows of its job: the VMs that take part, and the key that all of them share. It comes
 * from the host, as files:
 *
 *   DIRECTORY/hosts   a line for each VM, in the order of the job's nodes: NAME ADDRESS TASKS NODE
 *   DIRECTORY/key     32 hexadecimal digits; only the job's user may read it
 */
#pragma once

#include "lib/error.h"
#include "rsh/siphash.h"

#define JOB_DIRECTORY "/run/wnodes/job" /* unless WNODES_JOB_DIRECTORY says otherwise */
#define JOB_HOSTS_MAX 65536

/* All VMs listen here, the one of the first task too. */
#define JOB_PORT 7117

struct job_host {
	const char *name, *address, *node; /* of the VM, and of the machine it runs on */
	unsigned int tasks;
};

struct job {
	char *text; /* that the strings lie in */
	struct job_host *hosts;
	size_t count;
	uint8_t key[SIPHASH_SIZE];
};

/* Returns 0 or negative errno; job_done() is due in both cases. */
int job_load(struct job *ret, struct error *err);
void job_done(struct job *j);

/* Parses the text of `hosts`, which is taken. Returns 0, -EINVAL or -ENOMEM. */
int job_parse(struct job *ret, char *text, struct error *err);

/* The VM with this name or address, or NULL. */
const struct job_host *job_find(const struct job *j, const char *name);
