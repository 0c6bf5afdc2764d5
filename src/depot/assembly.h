/* One part of an image on its way to this machine: a sparse file that chunks are put into, in any
 * order and from anywhere, and a second file that says which are there.
 *
 * Only verified chunks get in. What is zeros stays a hole. A chunk that occurs at several places is
 * put once, and goes to all of them. The second file ("have") is written in batches and never ahead
 * of the data: what it says is there has reached the disk before. It may be killed at any point,
 * and goes on where it was; what an earlier process has left is verified again before it counts, so
 * that in the end every byte has been verified by the process that says so.
 *
 * have file, little-endian: "WNhave1\n", the SHA-256 of the index (32 bytes), the part's size, the
 * number of chunks (8 bytes each), 8 bytes of zeros, then a bit for each chunk, lowest first. A
 * file that is not of this index is emptied, and the part begins anew.
 *
 * All calls but open and free may be made by several threads at once. */
#pragma once

#include "depot/caibx.h"

struct assembly;

/* Takes up the part where it was left, or begins it. The index (borrowed, as the descriptors, until
 * assembly_free()) has the SHA-256 `index_digest`; both descriptors are open for reading and
 * writing. Returns 0, or negative errno. */
int assembly_open(const struct caibx *index, const uint8_t index_digest[DIGEST_SIZE],
	int partial_fd, int have_fd, struct assembly **ret, struct error *err);
struct assembly *assembly_free(struct assembly *a);
DEFINE_CLEANUP(struct assembly *, assembly_free)

const struct caibx *assembly_index(const struct assembly *a);
int assembly_fd(const struct assembly *a); /* of the part; what is there may be read from it */

/* Is chunk `i` of the index there, verified? */
bool assembly_has(struct assembly *a, size_t i);

/* Does any place of the same chunk lack it? Then it is to be checked, and put if that does not
 * help.
 */
bool assembly_wants(struct assembly *a, size_t i);

/* Was it put by an earlier process, and not verified yet by this one? */
bool assembly_is_claimed(struct assembly *a, size_t i);

/* Is `i` the first place of its chunk? It is enough to go through these. */
bool assembly_is_first(const struct assembly *a, size_t i);

/* Copies the bits of what assembly_has(), lowest first: (count + 7) / 8 bytes. */
void assembly_get_bits(struct assembly *a, uint8_t *ret);

struct assembly_state {
	size_t chunks, total_chunks; /* there; in all */
	uint64_t bytes, total_bytes; /* the same, zeros included */
	uint64_t unsynced;           /* bytes put since the last assembly_sync() */
};

void assembly_get_state(struct assembly *a, struct assembly_state *ret);

/* Verifies what an earlier process has put of chunk `i`, at all its places; where one is right, it
 * is copied to those that lack it. Costs less than fetching. Returns 1 if the chunk is at all its
 * places now, 0 if it is to be put, or negative errno. */
int assembly_check(struct assembly *a, size_t i, struct error *err);

/* Each puts chunk `i`, and wherever else in the part the same chunk is. Returns 0 (also if it was
 * there already), -EBADMSG if the bytes are not that chunk: its sender's fault, nothing is changed;
 * or another negative errno (-ENOSPC, -EIO, -ENOMEM), which is this machine's. */
int assembly_put(struct assembly *a, size_t i, const void *data, size_t length, struct error *err);
int assembly_put_packed(
	struct assembly *a, size_t i, const void *packed, size_t length, struct error *err);

/* The same from a local file that may have the chunk at `offset`: by reflink where the file system
 * can, else copied. */
int assembly_copy(struct assembly *a, size_t i, int fd, uint64_t offset, struct error *err);

/* Writes to the disk what was put, then says so in the have file. One caller at a time does the
 * work; others go on putting. Returns 0 or negative errno. */
int assembly_sync(struct assembly *a, struct error *err);

bool assembly_is_complete(struct assembly *a);

/* The end: all of the part is there, verified, and on the disk. Returns 0, -EAGAIN if chunks are
 * missing, or negative errno. */
int assembly_finish(struct assembly *a, struct error *err);

/* Forgets all that was put: for a part whose whole content has turned out to be wrong. No other
 * call may be going on. Returns 0 or negative errno. */
int assembly_reset(struct assembly *a, struct error *err);
