/* What this controller gives of its depot to nodes that ask for several chunks at a time
 * (depot/pick.h): for each index that is asked about, how often each chunk was given; and how many
 * such answers are on their way. Each controller has its own, also where several have one depot: it
 * gives each chunk once before it gives one twice, whatever others do. Nothing of it is worth
 * keeping: who begins anew gives some chunks once more. For all threads. */
#pragma once

#include "depot/caibx.h"
#include "depot/pick.h"

struct stocks; /* of all indexes */
struct stock;  /* of one */

/* `slots`: answers at a time, each of at most PICK_RESPONSE_MAX bytes. NULL when out of memory. */
struct stocks *stocks_new(size_t slots);

/* All slots and references have been given back. */
struct stocks *stocks_free(struct stocks *ss);
DEFINE_CLEANUP(struct stocks *, stocks_free)

/* Takes a slot for an answer to this node. Returns its number, or -EBUSY: none is free, or the node
 * has as many as one may have. */
int stocks_take_slot(struct stocks *ss, const char *node);
void stocks_give_back_slot(struct stocks *ss, int slot);

/* The stock of the index with this SHA-256: a reference, or NULL. */
struct stock *stocks_find(struct stocks *ss, const uint8_t digest[CHUNK_ID_SIZE]);

/* Adds it, and takes the index, also where it fails. The ones that were not asked about for longest
 * go where there are too many, or they need too much memory. If somebody was faster, theirs is
 * what there is. Returns a reference, or NULL when out of memory. */
struct stock *stocks_add(
	struct stocks *ss, const uint8_t digest[CHUNK_ID_SIZE], struct caibx *index);

struct stock *stock_unref(struct stock *s);
DEFINE_CLEANUP(struct stock *, stock_unref)

const struct caibx *stock_index(const struct stock *s);

/* Chooses what to give, and notes that it is given. Returns how many chunks. */
size_t stock_pick(struct stock *s, const struct pick *pick, uint32_t *ret, size_t max);

struct stocks_usage {
	size_t slots, taken, stocks;
	uint64_t memory; /* bytes, of what is found */
	uint64_t sent;   /* bytes that were answered, since the start */
};

void stocks_note_sent(struct stocks *ss, uint64_t bytes);
void stocks_get_usage(struct stocks *ss, struct stocks_usage *ret);
