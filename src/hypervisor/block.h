/* The leases that a node keeps ready, so that a VM's start asks nobody: names and addresses of the
 * site's pool. Each is a file, which says what it is used for, so that whoever is killed, none is
 * given to two VMs and none is lost: an id is written down before the controllers are asked for it,
 * and asked for again until they have answered. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

struct block;

/* How many are asked for or given back at once. */
#define BLOCK_BATCH_MAX 64

/* `state` is the daemon's directory. Those that VMs have which live may be claimed. Returns 0 or
 * negative errno. */
int block_new(const char *state, struct block **ret, struct error *err);
struct block *block_free(struct block *b);
DEFINE_CLEANUP(struct block *, block_free)

/* What is to be kept: so many ready ones of this pool. NULL or "": none; all are given back. */
void block_set_wanted(struct block *b, const char *pool, uint64_t ready);

/* Whose VM it is for. */
struct block_use {
	const char *vm; /* the id of its usage record */
	pid_t keeper;   /* the process that runs it; 0: not known */
	uid_t uid;
	const char *job; /* "slurm.4711"; "": none */
};

/* Gives one, the one that was free for the longest. Returns a new reference to what the controllers
 * said of it, or NULL if there is none. */
json_t *block_lend(struct block *b, const struct block_use *use);

/* A VM of a daemon before us has come back. Returns what it was lent (new), or NULL. */
json_t *block_claim(struct block *b, const char *vm);

/* The VM's connection has ended. */
void block_take_back(struct block *b, const char *vm);

/* Takes back those of VMs that nobody has claimed and whose process has ended. */
void block_sweep(struct block *b);

/* What the controllers are to be asked: {"give":[{"id","pool"}...],"take":[id...]}, a new object;
 * NULL: nothing. To those that they know, "vm", "job" and "uid" are added if they do not know the
 * use. */
json_t *block_ask(struct block *b);

/* What they have answered: `given` are leases, each with its id, `taken` ids. What is
 * no lease, or was not asked for, is passed over, and logged. Returns how many were taken in. */
size_t block_hear(struct block *b, json_t *given, json_t *taken);

/* The controllers know nothing of this one (any more). */
void block_forget(struct block *b, const char *id);

/* The controllers have this one as ours. If we do not know it, nobody will ever use it (an id is
 * written down before it is asked for, so that it is no new one): it is given back. */
void block_disown(struct block *b, const char *id);

/* Of all that there are, a new list of ids. */
json_t *block_ids(const struct block *b);

struct block_usage {
	uint64_t ready, used;
};
void block_get_usage(const struct block *b, struct block_usage *ret);
