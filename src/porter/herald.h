/* Tells the site's controllers what this node has, and asks them who else has what it fetches: on a
 * thread of its own, as a controller may take its time. */
#pragma once

#include <jansson.h>

#include "engine/credential.h"

struct herald;

struct herald_options { /* copied, but for the credential */
	const struct credential *credential;
	json_t *controllers; /* texts */
	const char *node, *address, *rack;
};

int herald_new(const struct herald_options *options, struct herald **ret, struct error *err);

/* Waits for what it is doing. */
struct herald *herald_free(struct herald *h);
DEFINE_CLEANUP(struct herald *, herald_free)

/* What this node has: [{"digest","state","done"}], taken. It is told soon if `urgent`, else with
 * the next one of its regular words. */
void herald_set_images(struct herald *h, json_t *images, bool urgent);

/* Whose peers are asked for, again and again; NULL: nobody's. */
void herald_set_wanted(struct herald *h, const char *digest);

/* The peers of that image, [{"node","address","rack"}], if there is a new list; else NULL. */
json_t *herald_take_peers(struct herald *h);

/* A peer has sent something bad. */
void herald_report(struct herald *h, const char *peer, const char *chunk, const char *reason);
