/* The node's templates: on disk, where only the daemon writes, and, while they are used, their
 * memory in sealed memory files, each read once for all clones. */
#pragma once

#include "hypervisor/worker.h"
#include "vm/template.h"

struct shelf;

/* What a clone is started from; the descriptors are the taker's. */
struct shelf_template {
	int memory_fd;            /* sealed; everybody's to open, nobody's to change */
	int state_fd, overlay_fd; /* read-only; the state opened for this clone alone */
};

/* `t` is NULL if there is no such template. */
typedef void (*shelf_fn)(struct shelf_template *t, void *userdata);

/* `directory` is kept with its templates; what the dead have left in it is removed. */
int shelf_new(struct worker *worker, const char *directory, uint64_t memory_bytes,
	struct shelf **ret, struct error *err);
struct shelf *shelf_free(struct shelf *s);
DEFINE_CLEANUP(struct shelf *, shelf_free)

const char *shelf_directory(const struct shelf *s);

/* Lends a template: calls `done`, at once if its memory is there already. */
void shelf_lend(struct shelf *s, const char *key, shelf_fn done, void *userdata);

/* Drops what is asked for `userdata`: `done` is not called any more. */
void shelf_forget(struct shelf *s, void *userdata);

/* Throws a template away; clones that run are not touched. */
void shelf_discard(struct shelf *s, const char *key, const char *reason);

void shelf_record_use(struct shelf *s, const char *key, uint64_t start_us);
bool shelf_has(const struct shelf *s, const char *key);

struct shelf_usage {
	uint64_t templates, memory_bytes; /* of those whose memory is held */
};
void shelf_get_usage(const struct shelf *s, struct shelf_usage *ret);
