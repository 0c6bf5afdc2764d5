/* The node's usage records: each VM that is lent has a note on the disk until its record is there,
 * so that there is one record of it whoever is killed. The disk is waited for by a thread of the
 * ledger's own, many records at a time. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "lib/error.h"

struct ledger;

/* `state` is the daemon's directory, `spool` where programs leave records while there is none. */
int ledger_new(sd_event *event, const char *state, const char *spool, const char *node,
	struct ledger **ret, struct error *err);

/* What is to be written is written before this returns. */
struct ledger *ledger_free(struct ledger *l);
DEFINE_CLEANUP(struct ledger *, ledger_free)

const char *ledger_node(const struct ledger *l);

/* The node's name in records from now on. Returns 0 or -ENOMEM. */
int ledger_set_node(struct ledger *l, const char *node);

/* `written` is called when records have come to the disk. */
void ledger_watch(struct ledger *l, void (*written)(void *userdata), void *userdata);

/* There is a VM, and a connection that is to tell its record; `known` (borrowed) is what the daemon
 * knows of it, `keeper` the process that runs it. Returns 0 or -ENOMEM. */
int ledger_add(struct ledger *l, const char *id, json_t *known, pid_t keeper);

/* A VM of a daemon before us comes back. Returns what that one knew of it, for json_decref(), or
 * NULL if there is no such VM of this user. */
json_t *ledger_claim(struct ledger *l, const char *id, uid_t uid);

/* Its connection has ended without a record: one is written later, of what is known. */
void ledger_release(struct ledger *l, const char *id);

/* `err` is NULL when the record is on the disk, or in a note that the next daemon writes it from.
 */
typedef void (*ledger_fn)(const char *err, void *userdata);

/* Writes a record and removes the note of its VM; an id that has its record already is as good.
 * Takes `record`, and calls `done` (may be NULL) once; a record that cannot be written now is tried
 * again. Returns 0, -EBUSY if too many wait to be written, or -ENOMEM. */
int ledger_write(struct ledger *l, json_t *record, ledger_fn done, void *userdata);

/* `done` is not called any more for this one. */
void ledger_forget(struct ledger *l, void *userdata);
