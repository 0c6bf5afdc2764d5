/* The ledger's part on the disk: the records, the notes of VMs that are lent. Used by one thread at
 * a time. */
#pragma once

#include <jansson.h>

#include "lib/error.h"
#include "lib/uuid.h"
#include "lrms/process.h"

struct ledger_disk {
	char *file;  /* the records */
	char *notes; /* directory, a file for each VM that is lent */
	/* The ids of the last records, so that none is written twice. */
	char (*recent)[UUID_TEXT_SIZE];
	size_t recent_next;
};

int ledger_disk_open(struct ledger_disk *d, const char *state, struct error *err);
void ledger_disk_done(struct ledger_disk *d);

/* Does this id have its record? */
bool ledger_disk_has(const struct ledger_disk *d, const char *id);

/* Writes those of the records whose id has none yet, all or none, in one go, and names their users.
 * Returns 0 or negative errno. */
int ledger_disk_append(struct ledger_disk *d, json_t **records, size_t count, struct error *err);

struct ledger_note {
	char id[UUID_TEXT_SIZE];
	json_t *known;         /* the record as far as the daemon knows it */
	bool told;             /* it is whole, and only has to be written */
	struct process keeper; /* that ran the VM; pid 0: not known */
};

/* A note survives the daemon's end; it is not waited for to be on the disk. It stands for one of
 * the same id before it. Returns 0 or negative errno, which is logged. */
int ledger_disk_note(const struct ledger_disk *d, const struct ledger_note *note);
void ledger_disk_remove_note(const struct ledger_disk *d, const char *id);

/* Calls `each`, which takes `note->known`, for the notes that were left; those of VMs that have
 * their record are removed. */
void ledger_disk_list(const struct ledger_disk *d,
	void (*each)(const struct ledger_note *note, void *userdata), void *userdata);
