/* A path of the site's API, with what is put into it encoded. */
#pragma once

#include "lib/buffer.h"

struct site_path {
	struct buffer text;
	bool queried; /* has its "?" */
	bool failed;  /* out of memory: site_path_text() gives NULL */
};

void site_path_done(struct site_path *p);

/* "/v1" and the parts given, up to NULL: "/v1/nodes/wn001". */
void site_path_init(struct site_path *p, ...) __attribute__((sentinel));

/* A path that is not below "/v1": "/healthz". */
void site_path_set(struct site_path *p, const char *path);

/* Adds "?name=value", or "&name=value"; a value that is NULL adds nothing. */
void site_path_add(struct site_path *p, const char *name, const char *value);

/* NULL when out of memory; borrowed. */
const char *site_path_text(struct site_path *p);
