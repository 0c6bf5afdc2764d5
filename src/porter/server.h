/* Serves other nodes: HTTPS, on threads of libmicrohttpd's. Only nodes of the site are answered, by
 * the certificate that they show. Each answer that has chunks takes a slot, and counts against the
 * rate; who does not get one is told to come again.
 *
 *   GET /chunks/xxxx/ID.cacnk   a chunk, packed
 *   GET /index/B.caibx          the index of a file
 *   GET /manifest/D.json        an image's manifest
 *   POST /pick                  several chunks, which the server chooses (depot/pick.h) */
#pragma once

#include "engine/credential.h"
#include "porter/holding.h"

struct server;

struct server_options {
	const char *listen; /* "ADDRESS:PORT" */
	const struct credential *credential;
	struct holdings *holdings;
	size_t slots;
	uint64_t rate_bytes; /* a second; 0: no limit */
};

/* Returns 0 or negative errno. A program has one at a time. */
int server_new(const struct server_options *options, struct server **ret, struct error *err);
struct server *server_free(struct server *s);
DEFINE_CLEANUP(struct server *, server_free)

/* Bytes of chunks that were sent. */
uint64_t server_sent(const struct server *s);
