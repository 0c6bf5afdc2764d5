/* The site's controllers as a client sees them: a list of addresses of which one that answers is
 * taken, and one way to say who one is. Blocking; one thread at a time. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

struct site;

/* How to reach controllers. All is borrowed while the site is open. */
struct site_options {
	const char *const *controllers; /* "https://host:port", or "unix:/path"; NULL-terminated */
	const char *ca_file;            /* whom to believe; NULL: the system's */
	const char *certificate_file, *key_file; /* of a node; NULL: none */
	const char *token;                       /* bearer; NULL: none */
	bool munge;                              /* with a credential of MUNGE */
	int timeout_ms;                          /* of one attempt */
	int patience_ms; /* for how long controllers that do not answer are tried in turn */
};

int site_open(const struct site_options *options, struct site **ret, struct error *err);
struct site *site_free(struct site *s);
DEFINE_CLEANUP(struct site *, site_free)

/* One request. `body` (may be NULL) is borrowed. A controller that does not answer, or answers 503,
 * is left for the next; a request is repeated as it is, so that it must be one that may be. Returns
 * the status (200 to 499), *ret the answer (may be NULL) for json_decref() and *ret_etag (may be
 * NULL as an argument) its ETag for free(); or negative errno: -ENOTCONN where no controller
 * answers, with the reason of the last. A status of 400 and above is returned with the answer's
 * "error" in `err`. */
int site_call(struct site *s, const char *method, const char *path, json_t *body,
	const char *if_match, json_t **ret, char **ret_etag, struct error *err);

/* A GET of what the caller may have already, as it was answered with the ETag `known` (NULL: it has
 * nothing). Returns 304 if it is still so, else as site_call(). */
int site_get(struct site *s, const char *path, const char *known, json_t **ret, char **ret_etag,
	struct error *err);

/* The same with a body of bytes (application/octet-stream), of at most 64 MiB. */
int site_send(struct site *s, const char *method, const char *path, const void *data, size_t length,
	json_t **ret, struct error *err);

/* All pages of a list: `each` takes each item; a negative value from it ends the walk. `path` may
 * have a query. Returns 0 or negative errno (-EREMOTEIO: it was refused, with the reason). */
int site_list(struct site *s, const char *path, int (*each)(json_t *item, void *userdata),
	void *userdata, struct error *err);

/* The status of the last answer; 0: none has come. */
int site_get_status(const struct site *s);

/* The address of the controller that has answered last; NULL: none. */
const char *site_controller(const struct site *s);
