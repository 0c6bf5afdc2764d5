/* The usage records that the site has not got yet. Records are rotated by others, by renaming their
 * file and compressing it; so each file has a second name here, from its first record until all of
 * it has been delivered: site/outbox/1, 2, ... How far that is, the courier writes down in a file
 * that is opened for it. */
#pragma once

#include "lib/error.h"

struct outbox;

/* `state` is the daemon's directory. Returns 0 or negative errno. */
int outbox_new(const char *state, struct outbox **ret, struct error *err);
struct outbox *outbox_free(struct outbox *o);
DEFINE_CLEANUP(struct outbox *, outbox_free)

/* Gives the file of the records its second name if it has none. To be called when records were
 * written, and from time to time. */
void outbox_sweep(struct outbox *o);

/* Opens the first file whose number is at least `from`, for reading. Returns the descriptor, with
 * its number, or -ENOENT if there is none. */
int outbox_open(struct outbox *o, uint64_t from, uint64_t *ret_number, struct error *err);

/* All files before this one have been delivered. The last one always stays. */
void outbox_drop_before(struct outbox *o, uint64_t number);

/* Where the courier notes how far it is, and what the site has refused for good. Return a
 * descriptor or negative errno. */
int outbox_open_cursor(struct outbox *o, struct error *err);
int outbox_open_refused(struct outbox *o, struct error *err);
