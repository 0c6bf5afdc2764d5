/* What has happened at the site, in the order in which it became true: for people, and for
 * programs that follow it (GET /v1/events). */
#pragma once

#include "controller/route.h"

/* Kinds are "NOUN.WHAT", "node.lost"; subjects "NOUN:NAME", "node:wn1"; actors "user:NAME",
 * "node:NAME" or "controller". */
#define EVENT_ACTOR_CONTROLLER "controller"
#define EVENT_ACTOR_MAX        (CALLER_NAME_MAX + 16)

/* Adds one. `detail` is taken (NULL: none); its "user", if there is one, is whom it is about and
 * may see it. In a write transaction, in which the sequence does not change under us. Returns 0 or
 * negative errno. */
int event_add(struct sql *db, uint64_t now_us, const char *kind, const char *subject,
	const char *actor, json_t *detail, struct error *err);

/* The actor that a caller is. Returns `text`. */
const char *event_actor(const struct caller *caller, char text[EVENT_ACTOR_MAX]);

/* For who follows: at most `limit` events after *sequence that the caller may see, the next first,
 * as a new array of the listing's objects in *ret. `kinds` is a list "a,b"; NULL: all. *sequence
 * becomes that up to which all have been looked at. Returns how many, or negative errno. */
int event_read(struct sql *db, const struct caller *caller, const char *kinds, int64_t *sequence,
	int limit, json_t **ret, struct error *err);

/* The newest sequence, 0 if there is none. Returns 0 or negative errno. */
int event_get_last(struct sql *db, int64_t *ret, struct error *err);

/* Forgets some of those that are older than `before_us`, or more than EVENT_KEEP_MAX back; never
 * the newest, as the sequence goes on from there. Returns how many, or negative errno. */
#define EVENT_KEEP_MAX  1000000
#define EVENT_PRUNE_MAX 5000 /* of one call, so that it does not hold up the writer */
int event_prune(struct sql *db, uint64_t before_us, struct error *err);

extern const struct listing event_listing;
extern const struct route event_routes[];
