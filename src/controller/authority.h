/* The site's own certificate authority. Its key is in the database, where all controllers have it:
 * whoever comes first makes it. It signs for nodes, which are clients, and for controllers, which
 * are servers, and neither can be taken for the other. */
#pragma once

#include <openssl/evp.h>

#include "sql/sql.h"

#define AUTHORITY_SERIAL_SIZE 64         /* hex, with NUL */
#define AUTHORITY_NAME_MAX    65         /* of a node, with NUL: as much as a certificate can say */
#define AUTHORITY_SKEW_S      (6 * 3600) /* clocks that are wrong by so much do no harm */
#define AUTHORITY_LIFETIME_S  (30 * 24 * 3600)

struct authority;

/* Within a write transaction: it is made if it is not there. Returns 0, -EBADMSG if what is there
 * cannot be read, or another negative errno. */
int authority_make(struct sql *db, uint64_t now_us, struct authority **ret, struct error *err);

/* The same with a transaction of its own, which is only begun if it is not there. */
int authority_open(struct sql *db, uint64_t now_us, struct authority **ret, struct error *err);

/* As it is in the database, -ENOENT if it is not there. */
int authority_load(struct sql *db, struct authority **ret, struct error *err);

struct authority *authority_free(struct authority *a);
DEFINE_CLEANUP(struct authority *, authority_free)

/* Its certificate, PEM. */
const char *authority_pem(const struct authority *a);

/* A certificate that was made. */
struct authority_certificate {
	char serial[AUTHORITY_SERIAL_SIZE];
	char *pem;
	uint64_t not_after_us;
};

void authority_certificate_done(struct authority_certificate *c);

/* For a node: a client that is this one. Returns 0 or negative errno. */
int authority_issue_node(const struct authority *a, const char *node, EVP_PKEY *key,
	uint64_t now_us, struct authority_certificate *ret, struct error *err);

/* For a controller: a server of these names and addresses (NULL-terminated), with a new key,
 * *ret_key (PEM), for free(). Returns 0, -EINVAL for what is no name, or another negative errno. */
int authority_issue_server(const struct authority *a, const char *const *names, uint64_t now_us,
	struct authority_certificate *ret, char **ret_key, struct error *err);

/* Whose certificate it is. */
struct authority_subject {
	char node[AUTHORITY_NAME_MAX];
	char serial[AUTHORITY_SERIAL_SIZE];
	uint64_t not_after_us;
};

/* Checks a certificate (DER) that a client has shown, but for its having been revoked. Returns 0 or
 * -EKEYREJECTED with the reason. */
int authority_check(const struct authority *a, const void *der, size_t length, uint64_t now_us,
	struct authority_subject *ret, struct error *err);

/* Can this be a node's name? Returns 0 or -EINVAL. */
int authority_check_name(const char *name, struct error *err);
