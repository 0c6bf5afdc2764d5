/* How a verb asks the site: by the program wnodes-call, which knows how controllers are reached and
 * how one says who one is. So that `wnodes` itself, which starts VMs, has no HTTP inside of it. */
#pragma once

#include <jansson.h>

#include "cli/site_path.h"
#include "lib/error.h"

/* One request. `body` (may be NULL) is borrowed, so is `if_match` (NULL: none; else the revision).
 * *ret is the answer, for json_decref(); NULL where there is none. Returns 0, or negative errno
 * with what the controller, or who could not reach one, said: -ENOTCONN  no controller answers
 *   -ENOENT    there is no such thing (404)
 *   -EACCES    the caller may not (401, 403)
 *   -EEXIST    something is in the way (409)
 *   -ESTALE    it was changed since (412)
 *   -EREMOTEIO otherwise refused */
int site_call_ask(const char *method, struct site_path *path, json_t *body, const char *if_match,
	json_t **ret, struct error *err);

/* The same with a body of bytes; what it takes to send them, it takes. */
int site_call_send(const char *method, struct site_path *path, const void *data, size_t length,
	json_t **ret, struct error *err);

/* The same of one controller alone, at this address (NULL: those of the settings), without much
 * patience: is it there? */
int site_call_ask_at(const char *address, struct site_path *path, json_t **ret, struct error *err);

/* All rows of a list, page after page: `each` is given each row, to keep, as it comes; a negative
 * value from it ends the walk. Returns 0 or negative errno as above. */
int site_call_list(struct site_path *path, int (*each)(json_t *row, void *userdata), void *userdata,
	struct error *err);
