/* Answers as libmicrohttpd sends them. */
#pragma once

#include <microhttpd.h>

#include "controller/exchange.h"

/* Sends what the exchange has for an answer; `id` is the request's, `allow` a header's value or
 * NULL. */
enum MHD_Result response_queue(
	struct MHD_Connection *connection, struct exchange *x, const char *id, const char *allow);

/* Sends a stream, which is taken. */
enum MHD_Result response_queue_stream(
	struct MHD_Connection *connection, struct MHD_Response *response, const char *id);
