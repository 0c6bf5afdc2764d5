/* Parts of images that are being fetched: they keep their place in the store when the process that
 * fetches them ends, so that the next one goes on.
 *
 *   partial/<sha256>        what is there of the blob so far
 *   partial/<sha256>.have   which of it, as whoever fetches writes it; locked (flock) while it does
 *   index/<sha256>          of which chunks a blob consists, so that others can be made from it
 *
 * Only a whole, verified part becomes a blob, by a rename. Collecting garbage removes what nobody
 * has worked on for a day. */
#pragma once

#include "image/store.h"

struct store_partial;

/* Takes up the part with this digest, or begins it: two files, open for reading and writing.
 * Returns 0, -EWOULDBLOCK while another process fetches it, or negative errno. */
int store_partial_open(
	struct store *s, const char *digest, struct store_partial **ret, struct error *err);
int store_partial_fd(const struct store_partial *p);
int store_partial_have_fd(const struct store_partial *p);

/* Closes it; what there is stays, unless it was committed. */
struct store_partial *store_partial_free(struct store_partial *p);
DEFINE_CLEANUP(struct store_partial *, store_partial_free)

/* Hashes the whole file. Returns 0, or -EBADMSG if it is not what its name says. */
int store_partial_verify(const struct store_partial *p, uint64_t size, struct error *err);

/* Makes it a blob of the store. The caller has verified every byte of it, and brought it to the
 * disk. As with store_upload_commit(), garbage is not collected until store_add() or store_free().
 * Returns 0 or negative errno. */
int store_partial_commit(struct store_partial *p, uint64_t size, struct error *err);

/* Removes what is left of a part that is in the store: a process may have been killed between the
 * two. Who works on it is left alone. */
void store_partial_drop(struct store *s, const char *digest);

/* Opens both files for reading only, whoever is working on them. Returns 0 or negative errno. */
int store_peek_partial(struct store *s, const char *digest, int *ret_fd, int *ret_have_fd);

/* Is this part in the store, sound? It is hashed if nobody has verified it before. */
bool store_has_part(struct store *s, const struct image_part *part);

/* Keeps a blob's index (bytes that the store does not look into). Returns 0 or negative errno. */
int store_put_index(struct store *s, const char *digest, const void *bytes, size_t length);

/* Reads it; the caller frees. Returns 0, -ENOENT, -EFBIG above `max`, or another negative errno. */
int store_get_index(
	struct store *s, const char *digest, size_t max, char **ret, size_t *ret_length);

/* Opens the blob whose index that is, as it is, unverified. Returns a descriptor or negative errno.
 */
int store_open_blob(struct store *s, const char *digest);

/* Calls `each` for every blob that has an index. Stops at, and returns, its first value that is not
 * 0. */
int store_each_index(
	struct store *s, int (*each)(const char *digest, void *userdata), void *userdata);
