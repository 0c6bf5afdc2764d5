/* The crew of a job's step: its VMs, one on each node, which know each other's names and addresses,
 * and what is brought into each of them so that an mpirun in one starts processes in all.
 *
 *   /run/wnodes/job/hosts         NAME ADDRESS TASKS NODE, a line for each VM
 *   /run/wnodes/job/key           that they show each other; of the job's user alone
 *   /run/wnodes/job/wnodes-rsh    the launch agent (src/rsh)
 *   /run/wnodes/job/hostfile      Open MPI's: NAME slots=TASKS
 *   /run/wnodes/job/machinefile   MPICH's: NAME:TASKS
 *   /run/wnodes/job/nodefile      PBS's: NAME, once for each task
 *   /run/wnodes/job/pe_hostfile   Grid Engine's: NAME TASKS QUEUE UNDEFINED
 */
#pragma once

#include <jansson.h>

#include "lib/error.h"
#include "lib/strv.h"

#define CREW_DIRECTORY "/run/wnodes/job"
#define CREW_AGENT     CREW_DIRECTORY "/wnodes-rsh"

/* Each network is a job's own, so that all may have the same addresses: the node's number is the
 * VM's, counted from 1. One VM alone needs no network. */
#define CREW_NETWORK  "10.210.0.0/16"
#define CREW_PREFIX   16
#define CREW_MAX      65000
#define CREW_KEY_SIZE 33 /* 32 hexadecimal digits and NUL */

#define CREW_ADDRESS_SIZE 16
#define CREW_MAC_SIZE     18

struct crew_member {
	char *node, *name;                    /* of the machine, and of the VM on it */
	char node_address[CREW_ADDRESS_SIZE]; /* of the machine; "": not looked up */
	uint64_t tasks;                       /* that the step has there */
};

struct crew {
	struct crew_member *members;
	size_t count, self; /* which of them is this VM */
	bool together;      /* one command for all tasks, which has all CPUs */
	char key[CREW_KEY_SIZE];
};

void crew_done(struct crew *c);

/* The network between VMs of several nodes: what the node's daemon is asked for, {"key","index",
 * "nodes"}. A new object. */
#define CREW_NETWORK_NAME "job"
json_t *crew_to_json(const struct crew *c);

/* Of a member's card, and the address on it; one VM alone has that of its loopback. */
void crew_address(const struct crew *c, size_t i, char ret[CREW_ADDRESS_SIZE]);
void crew_mac(size_t i, char ret[CREW_MAC_SIZE]);

/* What /etc/hosts is to have beside the loopback, for the caller to free; NULL when out of memory.
 */
char *crew_hosts(const struct crew *c);

/* One of the files above, with its content. */
struct crew_file {
	const char *path;
	unsigned int mode; /* it is the job's user's */
	char *data;
	size_t length;
};

#define CREW_FILES 7

/* Makes them all, the launch agent's too. Returns 0 or negative errno; crew_files_done() is due in
 * both cases. */
int crew_files(const struct crew *c, struct crew_file ret[CREW_FILES], struct error *err);
void crew_files_done(struct crew_file files[CREW_FILES]);

/* Tells the command where they are: variables of MPIs, of batch systems and of our own. What is set
 * already stays, but for what the step said of its nodes. */
void crew_fill_env(const struct crew *c, struct strv *env);
