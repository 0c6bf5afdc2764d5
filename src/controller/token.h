/* Tokens: what a node joins with, once, and what users show where neither MUNGE nor a socket says
 * who they are. The controllers keep their digests only. */
#pragma once

#include "controller/route.h"
#include "lib/digest.h"

#define TOKEN_SECRET_SIZE 96 /* with NUL */

enum token_kind { TOKEN_JOIN, TOKEN_BEARER };

struct token {
	char id[64];
	enum token_kind kind;
	char name[CALLER_NAME_MAX]; /* of the node, "" any; or whose it is */
	char hostgroup[CALLER_NAME_MAX];
	char roles[CALLER_NAME_MAX]; /* words, as rights_parse() */
	bool account;                /* its owner had one when it was made */
	char created_by[CALLER_NAME_MAX];
	uint64_t expires_us, used_us; /* the latter 0: not yet */
	char serial[64];              /* of the certificate that it was given for */
};

/* A fresh secret of 256 bits. Returns 0 or negative errno. */
int token_make_secret(enum token_kind kind, char ret[TOKEN_SECRET_SIZE]);

/* Can this be a secret at all, of this kind? */
bool token_is_secret(const char *text, enum token_kind kind);

/* By the secret. Returns 1, 0 if there is none, or negative errno. */
int token_find(struct sql *db, const char *secret, struct token *ret, struct error *err);

/* Forgets some of those that ended before this. Returns how many, or negative errno. */
#define TOKEN_PRUNE_MAX 1000 /* of one call */
int token_prune(struct sql *db, uint64_t before_us, struct error *err);

extern const struct route token_routes[];
