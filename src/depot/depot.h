/* A depot: published images in chunks, as a directory that any web server can serve.
 *
 *   manifest/<digest>.json        an image's manifest; its presence is what publishes the image
 *   index/<blob sha256>.caibx     the chunks of a part, as casync writes it
 *   chunks/<id[0:4]>/<id>.cacnk   the chunks, by zstd
 *   tmp/                          files being written
 *   lock                          held shared by who publishes, exclusively by who collects garbage
 *
 * No file ever changes. Each is written in tmp, brought to the disk, and only then gets its name;
 * chunks before the index that names them, indexes before their manifest. So whoever is killed, or
 * loses power, at any point leaves a sound depot, and the next one finds what was done.
 */
#pragma once

#include "depot/caibx.h"
#include "image/manifest.h"

struct depot;

/* Opens the depot in `directory`; makes it if `writable`. Returns 0 or negative errno. */
int depot_open(const char *directory, bool writable, struct depot **ret, struct error *err);

/* Drops what was put and not committed. */
struct depot *depot_free(struct depot *d);
DEFINE_CLEANUP(struct depot *, depot_free)

const char *depot_directory(const struct depot *d);

/* Keeps the garbage collector out, so that a chunk that is there stays until its index is there:
 * from the first look for a chunk until the manifest is put. Returns 0, -EBUSY while garbage is
 * being collected (it waits a minute first), or negative errno. Nests; any thread. What is put and
 * not committed when the last hold ends may be lost. */
int depot_hold(struct depot *d, struct error *err);
void depot_release(struct depot *d);

/* Is the chunk there, or put and waiting for depot_commit()? Any thread. */
bool depot_has_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE]);

/* Opens the chunk's file. Returns a descriptor or negative errno (-ENOENT). Any thread. */
int depot_open_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE]);

/* Reads a chunk: exactly `size` bytes into `data`, verified. Returns 0, -ENOENT, -EBADMSG where it
 * is damaged, or negative errno. Any thread. */
int depot_get_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE], void *data, size_t size,
	struct error *err);

/* Appends a chunk's file as it is, packed: 1 to CHUNK_PACKED_MAX bytes, which are not verified.
 * Returns 0, -ENOENT, -EFBIG, -EBADMSG for an empty one, or negative errno. Any thread. */
int depot_read_chunk(const struct depot *d, const uint8_t id[CHUNK_ID_SIZE], struct buffer *ret);

/* Writes a packed chunk, which the caller has verified; it is there from the next commit on, which
 * happens by itself after some thousand chunks. One that is there already stays as it is. Returns 0
 * or negative errno (-ENOSPC). Any thread; the depot is held. */
int depot_put_chunk(struct depot *d, const uint8_t id[CHUNK_ID_SIZE], const void *packed,
	size_t length, struct error *err);

/* Brings all chunks that were put to the disk, then names them. Returns 0 or negative errno. Any
 * thread. */
int depot_commit(struct depot *d, struct error *err);

/* Opens the index of a blob, or a manifest. Returns a descriptor or negative errno (-ENOENT). */
int depot_open_index(const struct depot *d, const char *blob);
int depot_open_manifest(const struct depot *d, const char *digest);

/* Reads and parses an index; `index` is the SHA-256 that it must have (NULL: any), and gets what it
 * has in `ret_digest` (may be NULL). Returns 0, -ENOENT, -EBADMSG, or negative errno. */
int depot_get_index(const struct depot *d, const char *blob, const char *index, struct caibx **ret,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err);

/* Is there a sound index of the blob: of this size, with all its chunks? Gives its SHA-256. */
bool depot_has_index(
	const struct depot *d, const char *blob, uint64_t size, char ret_digest[DIGEST_HEX_SIZE]);

/* Are all chunks of the index there, and committed? -ENOENT names the first that is not. */
int depot_check_index(const struct depot *d, const struct caibx *x, struct error *err);

/* Puts the index of a blob, after a commit, if all its chunks are there and it replaces no sound
 * one: then that one stays, as others may know it by its SHA-256, and *ret_digest is its. Returns
 * 0, or negative errno. The depot is held. */
int depot_put_index(struct depot *d, const char *blob, const void *bytes, size_t length,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err);

/* Reads a manifest, text and all: `ret_text` (may be NULL) is the caller's. Returns 0, -ENOENT,
 * -EBADMSG where it is damaged, or negative errno. */
int depot_get_manifest(const struct depot *d, const char *digest, struct manifest **ret,
	char **ret_text, struct error *err);

/* Puts a manifest, if sound indexes of all its parts are there; so the image is published, and all
 * of it is on the disk. Returns
 * 0 and the image's digest, or negative errno. The depot is held. */
int depot_put_manifest(struct depot *d, const char *text, size_t length,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err);

/* Calls `each` with the digest of every image, in order. Stops at, and returns, its first value
 * that is not 0. */
int depot_list(const struct depot *d, int (*each)(const char *digest, void *userdata),
	void *userdata, struct error *err);

/* Takes an image back: its manifest goes at once, its chunks with the next depot_collect(). Returns
 * 0, -ENOENT, or negative errno. */
int depot_remove(struct depot *d, const char *digest, struct error *err);

struct depot_garbage {
	uint64_t files, bytes;
};

/* Removes indexes that no manifest needs and chunks that no index needs, if they are older than
 * `age_s` seconds, and temporary files of the killed. A younger index keeps its chunks: its
 * manifest may be about to come. Returns 0 and what went, -EBUSY while somebody publishes (it waits
 * a minute first), -EBADMSG where a manifest or an index cannot be read: what it needs is then not
 * known, and nothing is removed. */
int depot_collect(struct depot *d, bool dry_run, uint64_t age_s, struct depot_garbage *ret,
	struct error *err);
