/* The site's images, as a node knows them: which there are, in which state, and which one a tag
 * stands for. The courier brings the list; the last one holds until there is another, also while no
 * controller answers. It decides what VMs may start from.
 *
 *   {"revision":"7",
 *    "images":[{"digest":D,"name":"el9","state":"approved","since":time,"expires":time,
 *               "by":"alice","reason":"...","owner":"alice","private":false,
 *               "parts":[{"kind":"disk","digest":B,"size":n,"index":SHA-256 of the index}]}],
 *    "tags":[{"name":"el9","tag":"latest","digest":D}],
 *    "private_tags":[{"owner":"alice","name":"mine","tag":"latest","digest":D}],
 *    "ended":{"revoked":[D],"expired":[D]},    those that have been so for long
 *    "staged":[D]}       those that this node is to have ready
 *
 * An image that nothing starts from any more has no parts; of those that have ended long ago, there
 * is nothing but the digest and the state, so that a list has room for all that a site ever had. */
#pragma once

#include "image/manifest.h"

/* A site of 10,000 images, of which 50 have not ended, has 0.9 MiB; the largest that controllers
 * make (controller/image.h) stays below this. */
#define CATALOGUE_BYTES_MAX    (24U << 20)
#define CATALOGUE_IMAGES_MAX   10000
#define CATALOGUE_ENDED_MAX    100000
#define CATALOGUE_WORD_SIZE    65 /* of names and tags, with NUL */
#define CATALOGUE_USER_SIZE    64
#define CATALOGUE_REASON_SIZE  256
#define CATALOGUE_REVISION_MAX 72

enum catalogue_state {
	CATALOGUE_PENDING,
	CATALOGUE_ENDORSED,
	CATALOGUE_APPROVED,
	CATALOGUE_EXPIRED,
	CATALOGUE_REVOKED,
	CATALOGUE_OTHER, /* of a newer controller: nothing starts from it */
};

struct catalogue_part {
	struct image_part part;
	char index[DIGEST_HEX_SIZE]; /* the SHA-256 of the part's index file */
};

struct catalogue_image {
	char digest[DIGEST_HEX_SIZE];
	char name[CATALOGUE_WORD_SIZE]; /* "": not known, of one that has ended long ago */
	enum catalogue_state state;
	bool is_private;
	uint64_t since_us, expires_us;   /* since the epoch; 0: not known, never */
	char owner[CATALOGUE_USER_SIZE]; /* "": nobody in particular */
	char by[CATALOGUE_USER_SIZE];    /* who has set the state; "": not known */
	char reason[CATALOGUE_REASON_SIZE];
	struct catalogue_part *parts;
	size_t part_count;
};

struct catalogue_tag {
	char name[CATALOGUE_WORD_SIZE], tag[CATALOGUE_WORD_SIZE];
	char digest[DIGEST_HEX_SIZE];
	char owner[CATALOGUE_USER_SIZE]; /* of a private tag: whom it is for */
};

struct catalogue {
	char revision[CATALOGUE_REVISION_MAX];
	struct catalogue_image *images; /* by digest */
	size_t image_count;
	struct catalogue_tag *tags; /* by name and tag */
	size_t tag_count;
	struct catalogue_tag *private_tags;
	size_t private_tag_count;
	char (*staged)[DIGEST_HEX_SIZE];
	size_t staged_count;
};

/* Parses JSON from anywhere: what is not as above is refused whole, so that no half of a list
 * decides anything; unknown members are ignored. Returns 0 and *ret for catalogue_free(), or
 * negative errno with the reason. */
int catalogue_parse(const char *text, size_t length, struct catalogue **ret, struct error *err);
struct catalogue *catalogue_free(struct catalogue *c);
DEFINE_CLEANUP(struct catalogue *, catalogue_free)

/* The image with this digest, or NULL; `c` may be NULL. */
const struct catalogue_image *catalogue_find(const struct catalogue *c, const char *digest);

/* Which image "NAME[:TAG]" or a digest (at least 8 hex digits) stands for, for this user (NULL: not
 * known); own names are looked at after those of all. Returns 1 and *ret, 0 if
 * the catalogue does not know it, or -EINVAL with the reason: more than one digest begins so, or
 * the tag is for an image that the list does not have. `c` may be NULL. */
int catalogue_resolve(const struct catalogue *c, const char *reference, const char *user,
	const struct catalogue_image **ret, struct error *err);

/* The image of this name ("NAME[:TAG]"; the tag does not count) whose state is the newest, of those
 * that this user may know of; NULL: none. `c` may be NULL. */
const struct catalogue_image *catalogue_find_named(
	const struct catalogue *c, const char *reference, const char *user);

/* A tag that stands for the image, or NULL. */
const struct catalogue_tag *catalogue_find_tag(const struct catalogue *c, const char *digest);

/* May a VM of this user start from the image now (us since the epoch)? One who brings an image of
 * their own may before it is approved, as long as it is private. Returns 0, or -EPERM with why not
 * and what to do; `called` is how the user called the image. */
int catalogue_decide(const struct catalogue_image *image, const char *called, const char *user,
	uint64_t now_us, struct error *err);

/* The same whoever it is for: is there anybody who may start from it? */
bool catalogue_is_startable(const struct catalogue_image *image, uint64_t now_us);

const char *catalogue_state_name(enum catalogue_state state);
