/* One request to one controller, with all that is checked of it and of its answer. */
#pragma once

#include <curl/curl.h>
#include <jansson.h>

#include "lib/error.h"
#include "site/site.h"

#define ATTEMPT_ANSWER_MAX (32U << 20) /* bytes: a page of 1,000 records is a few MiB */
#define ATTEMPT_PATH_MAX   4096        /* bytes */

/* What is asked; the same for each controller that is tried. */
struct attempt {
	const char *method, *path;
	const void *body; /* NULL: none */
	const char *type; /* of the body; NULL: JSON */
	size_t body_length;
	const char *if_match; /* NULL: none */
	const char *known;    /* the ETag of what is there already: 304 is an answer; NULL: none */
};

struct attempt_answer {
	int status;   /* 200 to 299, 400 to 599, and 304 where that was asked for */
	json_t *json; /* owned; NULL: none, as with 204 */
	char *etag;   /* owned, without quotes; NULL: none */
	uint64_t retry_after_s;
};

/* Returns 0 with an answer that is what a controller writes, or -ENOTCONN if it may be another one
 * in a while, -EKEYREJECTED if not before somebody has changed something; both with the reason.
 * `*ret` is to be released in any case. */
int attempt_run(CURL *curl, const struct site_options *options, const char *controller,
	const struct attempt *attempt, struct attempt_answer *ret, struct error *err);

void attempt_answer_done(struct attempt_answer *a);
