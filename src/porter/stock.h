/* Images of this node's own store that no catalogue has brought: what they have of an image is
 * taken from there, and nobody is given anything of them. Their indexes are made here, on a thread
 * that takes what processor time is left, and kept in memory. */
#pragma once

#include "porter/porter.h"

struct stock;

int stock_new(struct porter *p, struct stock **ret, struct error *err);
/* Waits for the chunk that the thread is at. */
struct stock *stock_free(struct stock *s);
DEFINE_CLEANUP(struct stock *, stock_free)

/* Lends what is new of [blob], to be looked at, and closes what is not there any more. Returns 0,
 * also where the daemon does not lend something, or negative errno. */
int stock_set(struct stock *s, const json_t *own, struct error *err);

/* From now on chunks are taken from those that the thread is done with. */
void stock_work(struct stock *s);
