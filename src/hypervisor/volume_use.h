/* What VMs of this node use of the site's volumes: a file each, written before the controllers are
 * asked, so that whoever is killed, none is forgotten: an id is asked for again until it is
 * answered, and told to be over until that is known. */
#pragma once

#include <jansson.h>

#include "lib/error.h"
#include "lib/uuid.h"

#define VOLUME_NAME_MAX    192 /* "OWNER/NAME", with NUL */
#define VOLUME_ADDRESS_MAX 256

struct volume_uses;

/* What a VM gets: an open file, where the data is here, or where to have it. */
struct volume_offer {
	const char *id;
	int fd; /* borrowed; -1: by NBD, from: */
	const char *address, *key;
	uint64_t port;
	bool read_only;
};

/* What the VM's program is told of it, a new object. */
json_t *volume_offer_to_json(const struct volume_offer *offer);

/* `why` is NULL when there is an offer. Called once, unless the VM's connection ends before. */
typedef void (*volume_use_fn)(const struct volume_offer *offer, const char *why, void *userdata);

struct volume_wish {
	const char *volume; /* NAME, OWNER/NAME or id */
	const char *vm;     /* the id of its usage record */
	uid_t uid;
	bool read_only;
};

int volume_uses_new(const char *state, struct volume_uses **ret, struct error *err);
struct volume_uses *volume_uses_free(struct volume_uses *u);
DEFINE_CLEANUP(struct volume_uses *, volume_uses_free)

/* Returns 0 or negative errno, and then `done` is not called. */
int volume_uses_add(struct volume_uses *u, const struct volume_wish *wish, volume_use_fn done,
	void *userdata, struct error *err);

/* A VM of a daemon before us has come back; a VM's connection has ended. */
void volume_uses_claim(struct volume_uses *u, const char *vm);
void volume_uses_end(struct volume_uses *u, const char *vm);

/* Those that nobody has claimed are over. */
void volume_uses_end_unclaimed(struct volume_uses *u);

/* Is there anything that the controllers are to be told, or to be asked about again? */
bool volume_uses_are_pending(const struct volume_uses *u);

/* Adds to what the controllers are told. */
void volume_uses_ask(struct volume_uses *u, json_t *attach, json_t *detach);

/* They have answered: `rows` are all that this node has, `refused` what it does not get. `lend` is
 * asked for an offer of a row that somebody waits for: returns 1, 0 if it is not time yet, or
 * negative errno with the reason; a file that it has opened is closed here. */
void volume_uses_hear(struct volume_uses *u, json_t *rows, json_t *refused,
	int (*lend)(json_t *row, struct volume_offer *ret, void *userdata, struct error *err),
	void *userdata);

/* A new list for `wnodes node show`. */
json_t *volume_uses_to_json(const struct volume_uses *u);
