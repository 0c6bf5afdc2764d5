/* Subscriptions to image lists, each a directory:
 *
 *   NAME/subscription.json  what it is subscribed to, the last list that was taken, its images
 *   NAME/list.smime         that list as it came, with its signature
 *   NAME/partial/           downloads, by their SHA-512, to be gone on with
 *   NAME/depot/             an image in chunks that is being sent to the site
 *   NAME/lock               held (flock) by who changes any of it
 *
 * All are private: a list's address may have a password in it. */
#pragma once

#include "lib/error.h"
#include "lib/strv.h"

#define SUBSCRIPTION_LIST    "list.smime"
#define SUBSCRIPTION_PARTIAL "partial"

/* Whose lists are taken: subject and issuer of the certificate. */
struct subscription_endorser {
	char *dn, *ca;
};

/* An image that is wanted, where not all are. */
struct subscription_choice {
	char *identifier;
	char *reference; /* NAME:TAG that it gets; NULL: made from its title */
};

/* An image that is, or was, in the store by this subscription. */
struct subscription_image {
	char *identifier, *reference; /* "NAME:TAG" */
	char *title, *version, *sha512;
	char *digest;             /* of the image in the store */
	char *gone;               /* why it has lost its tag; NULL: it has it */
	uint64_t since_us;        /* since when that is so */
	uint64_t expires_us;      /* 0: with its list */
	char *site_digest;        /* as which the site's catalogue has it; NULL: it does not */
	uint64_t site_expires_us; /* until when, there */
};

struct subscription {
	char *name;
	char *source;     /* URL or file of the list */
	char *ca;         /* directory or file of authorities */
	char *no_crl;     /* not NULL: their lists of revoked certificates are not asked for */
	char *site;       /* not NULL: the images are published at the site */
	char *tag;        /* that images get */
	char *identifier; /* of the list; NULL until the first one has been taken */
	struct subscription_endorser *endorsers;
	size_t endorser_count;
	struct subscription_choice *choices; /* none: all that can be used */
	size_t choice_count;

	/* The last list that was taken; `version` is NULL before the first. */
	char *version, *title, *signer_dn, *signer_ca;
	uint64_t created_us, expires_us;
	uint64_t updated_us; /* when a list was last taken, also the same one again */
	char *failure;       /* of the last update; NULL: none */
	struct subscription_image *images;
	size_t image_count;
};

struct subscription *subscription_free(struct subscription *s);
DEFINE_CLEANUP(struct subscription *, subscription_free)

/* Each adds an item and copies its texts, which may be NULL. Return 0 or -ENOMEM. */
int subscription_add_endorser(struct subscription *s, const char *dn, const char *ca);
int subscription_add_choice(struct subscription *s, const char *identifier, const char *reference);
/* Zeroed; NULL when out of memory. Others move. */
struct subscription_image *subscription_add_image(struct subscription *s);

bool subscription_has_endorser(const struct subscription *s, const char *dn, const char *ca);

/* NULL: it is none of ours. */
struct subscription_image *subscription_find_image(
	const struct subscription *s, const char *identifier);

/* Where those of this user are, for the caller to free; NULL when out of memory. */
char *subscription_directory(void);

/* DIRECTORY/NAME/FILE for the caller to free; NULL when out of memory. */
char *subscription_file(const char *directory, const char *name, const char *file);

/* Returns 0, or -EINVAL for what is no name: a-z 0-9 . _ -, at most 32. */
int subscription_check_name(const char *name, struct error *err);

/* Waits for who changes it now. With `make` it may be new. Returns a descriptor that holds the lock
 * until it is closed, -ENOENT, or negative errno. `on_wait` is called before waiting. */
int subscription_lock(const char *directory, const char *name, bool make, void (*on_wait)(void),
	struct error *err);

/* Returns 0 and *ret for subscription_free(), -ENOENT with the names that there are, or negative
 * errno. */
int subscription_load(
	const char *directory, const char *name, struct subscription **ret, struct error *err);

/* Replaces subscription.json in one step, by who has the lock. */
int subscription_save(const char *directory, const struct subscription *s, struct error *err);

/* Replaces the list as it came. */
int subscription_save_list(const char *directory, const char *name, const void *message,
	size_t length, struct error *err);

/* Removes the directory, by who has the lock. */
int subscription_remove(const char *directory, const char *name, struct error *err);

/* Adds the names of all, sorted. Returns 0 or negative errno. */
int subscription_names(const char *directory, struct strv *ret, struct error *err);

/* A URL without what may be a password in it, for the caller to free; NULL when out of memory. */
char *subscription_public_source(const char *source);
