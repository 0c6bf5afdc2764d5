/* Sends an image of a depot on this machine to the site's, and publishes it there. */
#pragma once

#include "depot/release.h"

struct image_upload {
	const struct depot *depot;
	const struct release *release; /* of an image that the depot has */
	const char *name, *tag;        /* that it is to get; tag NULL: none */
	const char *reason, *expires;  /* a time as the API has it; both may be NULL */
	bool private, endorsed;
	/* Called with the bytes that are looked at of all `total` ones; may be NULL. */
	void (*on_bytes)(uint64_t done, uint64_t total, void *userdata);
	/* What was sent, for people: */
	uint64_t sent_chunks, sent_bytes;
};

/* Sends what the site does not have, and publishes the image: the same again goes on where it was,
 * and publishes nothing twice. *ret is the image as the site has it, for json_decref(). Returns 0
 * or negative errno as site_call_ask(). */
int image_upload_run(struct image_upload *u, json_t **ret, struct error *err);
