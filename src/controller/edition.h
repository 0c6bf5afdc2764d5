/* The catalogue's text as nodes get it, made once for each of its revisions: when it changes, all
 * nodes of a site come for it within seconds, and for each of them to be made anew it is too large.
 * For all threads. */
#pragma once

#include "lib/base.h"

struct editions;

/* What of the text is the same for all nodes; it never changes. */
struct edition {
	int64_t revision;
	char *text;
	size_t length;
	_Atomic(size_t) references;
};

struct editions *editions_new(void);
struct editions *editions_free(struct editions *es);
DEFINE_CLEANUP(struct editions *, editions_free)

/* A reference to the one of this revision, or NULL: it has to be made. `es` may be NULL. */
struct edition *editions_find(struct editions *es, int64_t revision);

/* Makes one of this text, which is taken, and keeps it for others if it is the newest. `es` may be
 * NULL. Returns a reference, or NULL when out of memory. */
struct edition *editions_add(struct editions *es, int64_t revision, char *text);
struct edition *edition_unref(struct edition *e);
DEFINE_CLEANUP(struct edition *, edition_unref)
