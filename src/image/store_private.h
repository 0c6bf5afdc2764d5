/* What the store's files share, and nobody else sees. */
#pragma once

#include "image/store.h"
#include "lib/buffer.h"

#define STORE_BLOBS   "blobs"
#define STORE_NAMES   "names"
#define STORE_CHECKED "checked"
#define STORE_KEPT    "kept"
#define STORE_TMP     "tmp"
#define STORE_PARTIAL "partial"
#define STORE_INDEX   "index"

#define STORE_PARTIAL_HAVE  ".have"
#define STORE_PARTIAL_AGE_S (24 * 3600) /* nobody goes on with what was left longer ago */

/* Adding takes this long at most between the first commit and the tag (nothing is copied or hashed
 * in between), and collecting garbage is a walk through directories. */
#define STORE_LOCK_TIMEOUT_MS 60000

struct store {
	char *directory;
	int dir_fd, lock_fd;
	bool writable;
	bool held; /* our shared lock */
};

/* Locks out the garbage collector until store_add(), store_release() or store_free(). */
int store_hold(struct store *s, struct error *err);
void store_release(struct store *s);
int store_lock(struct store *s, bool exclusive, struct error *err);

/* Removes the temporary files of killed writers, if nobody is at work in the store. */
void store_collect_temporary(struct store *s);

/* Opens a blob without looking at its content. Returns the descriptor or negative errno. */
int blob_open(struct store *s, const char *digest, uint64_t *ret_size);

/* Was the blob's content verified while its inode was as it is now? */
bool blob_is_checked(struct store *s, const char *digest, int fd);

/* Is this very content there already, in a file known to be sound? */
bool blob_is_sound(struct store *s, const struct image_part *part);

/* Notes that this inode's content was verified; a failure only costs another check. */
void blob_set_checked(struct store *s, const char *digest, int fd);
void blob_unset_checked(struct store *s, const char *digest);

/* Hashes the content. Returns 0 and notes it, or -EBADMSG. */
int blob_verify(struct store *s, const char *digest, int fd, struct error *err);

/* Reads the manifest that is an image. Returns 0 or negative errno. */
int store_load_manifest(
	struct store *s, const char *digest, struct manifest **ret, struct error *err);

/* Loads the image behind a tag. Where only the manifest cannot be read, *ret is set all the same,
 * without it. Returns 0 or negative errno. */
int store_load_image(
	struct store *s, const char *name, const char *tag, struct image **ret, struct error *err);

/* Is there such an image, kept without a tag? */
bool store_is_kept(struct store *s, const char *digest);

/* Calls `each` for every digest that is kept. */
typedef int (*kept_fn)(struct store *s, const char *digest, void *userdata, struct error *err);
int store_each_kept(struct store *s, kept_fn each, void *userdata, struct error *err);

/* Loads an image by its whole digest. Returns 0 or negative errno. */
int store_load_digest(struct store *s, const char *digest, struct image **ret, struct error *err);

#define REFERENCE_WORD_MAX 64

/* Is this a name or tag: [a-z0-9][a-z0-9._-]*, not too long? */
bool reference_word_is_valid(const char *word);

/* Appends the store's images to a list for people, up to a length. */
void store_describe(struct store *s, struct buffer *list);

/* Fills the message with the images that there are, and returns -ENOENT. */
int reference_not_found(const char *reference, const struct buffer *list, struct error *err);

/* Calls `each` for every tag in order. */
typedef int (*tag_fn)(
	struct store *s, const char *name, const char *tag, void *userdata, struct error *err);
int store_each_tag(struct store *s, tag_fn each, void *userdata, struct error *err);

/* Reads the digest that a tag stands for. Returns 0, -ENOENT, or negative errno. */
int store_read_tag(struct store *s, const char *name, const char *tag,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err);
