/* The store: images by content on one machine, for one user or for all.
 *
 *   blobs/<sha256>       immutable files, 0444: disks, kernels, initrds, manifests
 *   names/<name>/<tag>   one line: the digest of the manifest that the tag stands for now
 *   kept/<sha256>        an image that is kept without a tag; its time is that of its last use
 *   checked/<sha256>     what the blob's inode looked like when its content was last verified
 *   tmp/                 files being written; each is locked (flock) by its writer
 *   partial/, index/     parts that are being fetched, and of which chunks blobs are (partial.h)
 *   lock                 held shared while adding (from an upload's commit until store_add() or
 *                        store_free()), exclusive while collecting garbage
 *
 * Every change is: write in tmp, fsync, rename, fsync the directory. Several processes may use a
 * store at once; a writer killed at any point leaves only a file in tmp, which gc removes. A VM
 * keeps its parts open, so removing an image never harms one that runs.
 */
#pragma once

#include "image/manifest.h"

#define STORE_TAG_DEFAULT "latest"

struct store;

/* Opens (and makes, if `writable`) the store in `directory`. Returns 0 or negative errno. */
int store_open(const char *directory, bool writable, struct store **ret, struct error *err);
struct store *store_free(struct store *s);
const char *store_directory(const struct store *s);
DEFINE_CLEANUP(struct store *, store_free)

/* Splits "NAME[:TAG]" and checks both: [a-z0-9][a-z0-9._-]*, at most 64 characters each.
 * Strings are the caller's to free. Returns 0 or -EINVAL. */
int store_parse_reference(const char *text, char **ret_name, char **ret_tag, struct error *err);

/* An image found in the store. */
struct image {
	char *name, *tag; /* the reference that was asked for; NULL when asked for by digest */
	char digest[DIGEST_HEX_SIZE];
	struct manifest *manifest; /* only from store_list(): NULL if it cannot be read */
};

struct image *image_free(struct image *i);
DEFINE_CLEANUP(struct image *, image_free)

/* Finds "NAME[:TAG]" or a digest (at least 8 hex digits, if unique). Returns 0, -ENOENT, or another
 * negative errno; the message names the images that there are. */
int store_find(struct store *s, const char *reference, struct image **ret, struct error *err);

/* Reads the manifest of an image as it is: exactly the bytes that its digest is of, for the caller
 * to free. Returns 0, -ENOENT, -EBADMSG where it is damaged, or negative errno. */
int store_get_manifest(struct store *s, const char *digest, char **ret_text, size_t *ret_length,
	struct error *err);

/* Opens a part read-only. Its size must be the manifest's, and unless its inode is as it was when
 * last verified, its content is hashed again: -EBADMSG with the digest if it is not what it was. */
int store_open_part(struct store *s, const struct image_part *part, struct error *err);

/* A file being added: written through fd, then becoming a blob under its digest. */
struct store_upload;
int store_upload_open(struct store *s, struct store_upload **ret, struct error *err);
int store_upload_fd(const struct store_upload *u);
const char *store_upload_path(const struct store_upload *u); /* for programs that want a name */
int store_upload_commit(struct store_upload *u, struct image_part *ret, struct error *err);
struct store_upload *store_upload_free(struct store_upload *u); /* drops what is not committed */
DEFINE_CLEANUP(struct store_upload *, store_upload_free)

/* Adds the manifest and points NAME:TAG (and no other tag) at it, all parts being there already.
 * Returns 0 and the image's digest, or negative errno. */
int store_add(struct store *s, const struct manifest *m, const char *name, const char *tag,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err);

/* The same for a manifest as it was published elsewhere, byte by byte, so that the image has the
 * digest that it has there. -EBADMSG if that is not `digest`. */
int store_add_published(struct store *s, const char *json, size_t length, const char *digest,
	const char *name, const char *tag, struct error *err);

/* Makes NAME:TAG stand for the image with this digest, atomically. */
int store_tag(
	struct store *s, const char *digest, const char *name, const char *tag, struct error *err);

/* Removes a tag; the content goes with the next store_collect(). Returns 0 or -ENOENT. */
int store_untag(struct store *s, const char *name, const char *tag, struct error *err);

/* Keeps an image that is there, though no tag stands for it, or ends that. Returns 0 or negative
 * errno. */
int store_keep(struct store *s, const char *digest, struct error *err);
int store_unkeep(struct store *s, const char *digest, struct error *err);

/* A VM starts from it; nothing happens if it is not kept. */
void store_note_use(struct store *s, const char *digest);

/* An image that is kept without a tag; all is borrowed. */
struct kept_image {
	const char *digest;
	const struct manifest *manifest;
	uint64_t used_us;                        /* since the epoch */
	uint64_t part_bytes[MANIFEST_PARTS_MAX]; /* that the parts take on the disk */
};

/* Calls `each` for every one of them. Stops at, and returns, its first value that is not 0. */
int store_list_kept(struct store *s, int (*each)(const struct kept_image *image, void *userdata),
	void *userdata, struct error *err);

/* Takes in an image and keeps it: the manifest's text, and of its parts those that the store does
 * not have from `directory`, of the same file system, where each is <sha256>STORE_READY: written by
 * nobody any more, hashed and synced by the caller. `mode`: who may read the disk, 0444 or 0400.
 * Returns 0, -ENOENT if a part is not there, or another negative errno; then there is no image. */
#define STORE_READY ".ready"
int store_adopt(struct store *s, const char *digest, const char *manifest, size_t length,
	const char *directory, mode_t mode, struct error *err);

/* Calls `each` for every tag, sorted. Stops at, and returns, its first value that is not 0. */
int store_list(struct store *s, int (*each)(const struct image *image, void *userdata),
	void *userdata, struct error *err);

/* Hashes all parts of an image again. Returns 0 or -EBADMSG. */
int store_verify(struct store *s, const struct image *image, struct error *err);

/* Removes blobs that neither a tag nor store_keep() reaches and temporary files whose writer is
 * gone; waits (a minute at most) for images that are being added. Returns 0 with the counts,
 * -EBUSY, or -EBADMSG where a tag's manifest cannot be read: what it needs is then not known, and
 * nothing is removed. */
int store_collect(
	struct store *s, bool dry_run, uint64_t *ret_files, uint64_t *ret_bytes, struct error *err);
