/* Streams of events (server-sent events,
 * https://html.spec.whatwg.org/multipage/server-sent-events.html): each is a client's connection,
 * on which events are written as they happen, here or at another controller. */
#pragma once

#include <microhttpd.h>

#include "controller/exchange.h"

#define STREAM_TYPE "text/event-stream"

struct streams;

/* `url` of the database; at most `max` streams. Returns 0 or negative errno. */
int streams_new(const char *url, size_t max, struct streams **ret, struct error *err);

/* No stream may be left. */
struct streams *streams_free(struct streams *s);
DEFINE_CLEANUP(struct streams *, streams_free)

/* Something was changed by us: there may be events. */
void streams_wake(struct streams *s);

/* Ends all of them, and refuses others. */
void streams_end(struct streams *s);

size_t streams_count(struct streams *s);

/* The events of those that the exchange's caller sees (?kind= limits them) behind number `after`
 * (NULL: those to come) as an answer that does not end. Returns 0, or the status with the error
 * said. */
int stream_open(struct streams *s, struct exchange *x, const char *after,
	struct MHD_Connection *connection, struct MHD_Response **ret);
