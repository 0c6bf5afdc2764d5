/* What this node can give to others: files, or parts of them, of which it has the index. The main
 * thread adds and removes them; threads that serve look them up. One that is removed while it is
 * being read lives until that is over. */
#pragma once

#include "depot/caibx.h"
#include "depot/pick.h"

struct holdings;
struct holding;

struct holdings *holdings_new(void);
struct holdings *holdings_free(struct holdings *hs);
DEFINE_CLEANUP(struct holdings *, holdings_free)

/* What a holding is made of. */
struct holding_parts {
	char blob[DIGEST_HEX_SIZE];
	struct caibx *index;
	int fd, index_fd, manifest_fd; /* manifest_fd: -1 if there is none */
	char image[DIGEST_HEX_SIZE];   /* whose manifest that is */
	bool own; /* it is only for ourselves: no others find it, and it needs no index_fd */
};

/* Takes the index and the descriptors, also where it fails. `whole`: all chunks are there. Returns
 * 0 and a reference, or negative errno. */
int holdings_add(struct holdings *hs, struct holding_parts *parts, bool whole, struct holding **ret,
	struct error *err);

/* Others find it no more. Its last reference, to be given back with holding_unref(), closes it. */
void holdings_remove(struct holdings *hs, struct holding *h);

/* A chunk has come; `common`: from somebody who gives it to others as well. */
void holding_add_chunk(struct holding *h, uint32_t chunk, bool common);

/* Is nobody but the caller using it? */
bool holding_is_idle(const struct holding *h);

/* Each returns a reference, or NULL. */
struct holding *holdings_find_index(struct holdings *hs, const uint8_t digest[CHUNK_ID_SIZE]);
struct holding *holdings_find_blob(struct holdings *hs, const char *blob);
struct holding *holdings_find_manifest(struct holdings *hs, const char *image);
struct holding *holdings_find_chunk(
	struct holdings *hs, const uint8_t id[CHUNK_ID_SIZE], uint32_t *ret_chunk);
/* The same among those that are only for ourselves as well. */
struct holding *holdings_find_copy(
	struct holdings *hs, const uint8_t id[CHUNK_ID_SIZE], uint32_t *ret_chunk);
struct holding *holding_unref(struct holding *h);
DEFINE_CLEANUP(struct holding *, holding_unref)

const struct caibx *holding_index(const struct holding *h);
int holding_fd(const struct holding *h);

/* The numbers of all chunks of the same bytes as this one. */
const uint32_t *holding_find_equals(const struct holding *h, uint32_t chunk, size_t *ret_count);
const char *holding_blob(const struct holding *h);

/* Chooses what to give, and notes that it is given. Returns how many chunks. */
size_t holding_pick(struct holding *h, const struct pick *pick, uint32_t *ret, size_t max);

/* Appends the chunk, packed. Returns 0 or negative errno. */
int holding_read_chunk(const struct holding *h, uint32_t chunk, struct buffer *ret);

/* The index's, or the manifest's, bytes, for free(). Returns 0 or negative errno. */
int holding_read_index(const struct holding *h, char **ret, size_t *ret_length);
int holding_read_manifest(const struct holding *h, char **ret, size_t *ret_length);
