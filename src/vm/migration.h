/* The devices' state of a VM, saved for a template and loaded into a clone.
 *
 * The guest's memory is not in the stream: it is in a file that both map (x-ignore-shared). So a
 * state is half a MiB, and the guest stands still for some ten milliseconds.
 * Source: QEMU docs/devel/migration.rst and qapi/migration.json, version 7.2. */
#pragma once

#include "vm/qmp.h"

struct migration;

/* `error` NULL: done. Called once. */
typedef void (*migration_fn)(const char *error, void *userdata);

/* Writes the state of the devices to `fd`, which stays the caller's; then the guest stands still
 * for good. Returns 0 or negative errno. */
int migration_save(
	struct qmp *qmp, int fd, migration_fn done, void *userdata, struct migration **ret);

/* Loads a state into a QEMU that waits for it (-incoming defer) and has inherited `fd`; `done`
 * comes when the guest goes on. A state that does not fit makes QEMU end. Returns 0 or negative
 * errno. */
int migration_load(
	struct qmp *qmp, int fd, migration_fn done, void *userdata, struct migration **ret);

/* For QEMU's events; those that mean nothing here are ignored. */
void migration_on_event(struct migration *m, const char *name, json_t *data);

/* Must outlive its QMP connection: answers that are still to come refer to it. */
struct migration *migration_free(struct migration *m);
DEFINE_CLEANUP(struct migration *, migration_free)
