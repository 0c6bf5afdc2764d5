/* The headers of a request that matter to us. */
#pragma once

#include <microhttpd.h>

#include "lib/error.h"

/* Values are the connection's, as long as the request; NULL: not there. */
struct header {
	const char *authorization, *content_type, *content_length, *transfer_encoding;
	const char *if_match, *if_none_match, *accept, *last_event_id, *request_id, *host;
	bool twice; /* one of them is there more than once */
};

void header_read(struct MHD_Connection *connection, struct header *ret);

/* Are these headers of which everybody between the client and us understands the same? Returns 0,
 * or the status with what is wrong: then nothing that follows on the connection is to be read. */
int header_check(const struct header *h, struct error *err);

/* The length of the body that is announced; 0: none, or in pieces. */
uint64_t header_body_length(const struct header *h);

/* Is the body, if there is one, JSON, or bytes (application/octet-stream)? Is this type among those
 * that are accepted by name? */
bool header_is_json(const struct header *h);
bool header_is_bytes(const struct header *h);
bool header_accepts(const struct header *h, const char *type);

/* The ETag of If-Match or If-None-Match, without quotes, in `ret`; returns it, or NULL. */
const char *header_etag(const char *text, char *ret, size_t size);
