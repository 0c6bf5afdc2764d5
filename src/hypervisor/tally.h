/* A lent VM's way to its usage record: from the loan, by the start of its QEMU, to what its program
 * tells at the end, or to what the daemon has seen of it where the program was killed. */
#pragma once

#include "hypervisor/ledger.h"
#include "hypervisor/taps.h"
#include "hypervisor/witness.h"

struct tally {
	struct ledger *ledger;
	char record_id[UUID_TEXT_SIZE];
	json_t *known; /* NULL: there is no VM yet */
	bool told;     /* by its program */
	pid_t qemu;
	struct witness_usage usage;
	struct tap *tap;  /* whose bytes count; NULL: none */
	uint64_t lent_us; /* since the epoch */
};

/* Begins with a fresh id. Returns 0 or negative errno. */
int tally_lend(struct tally *t, struct ledger *ledger);

/* There is a VM; `w` says all but what the tally knows. From now on there will be a record. */
void tally_start(struct tally *t, struct witness *w, pid_t qemu);

/* The same for one of a daemon before us, whose record's id is `id`; an unknown one is replaced. */
void tally_hold(struct tally *t, const char *id, struct witness *w, pid_t qemu);

/* Writes what the VM's program tells, once. `done` is called when it is on the disk or could not be
 * written. Returns 0 or negative errno with what is wrong. */
int tally_record(
	struct tally *t, const json_t *told, ledger_fn done, void *userdata, struct error *err);

/* Looks how much the VM has used, for the case that its program will not tell. */
void tally_look(struct tally *t);

/* The connection has ended; with `leave` it is the daemon that ends, and the VM goes on. */
void tally_end(struct tally *t, void *userdata, bool leave);
