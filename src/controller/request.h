/* Requests as libmicrohttpd hands them over: what was sent becomes an exchange, and its answer goes
 * back. */
#pragma once

#include <microhttpd.h>

#include "lib/error.h"

struct controller;
struct requests; /* what all have together */

struct requests *requests_new(void);
struct requests *requests_free(struct requests *rs);
DEFINE_CLEANUP(struct requests *, requests_free)

/* From now on no change is begun. Waits for those that are, for at most `time_us`. */
void requests_end(struct requests *rs, uint64_t time_us);

/* The callbacks of a daemon; `userdata` is the controller. */
void *request_on_target(void *userdata, const char *target, struct MHD_Connection *connection);
enum MHD_Result request_on_call(void *userdata, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *data_length,
	void **context);
void request_on_end(void *userdata, struct MHD_Connection *connection, void **context,
	enum MHD_RequestTerminationCode code);
