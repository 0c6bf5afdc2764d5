/* The certificates of nodes: each has a row, and is good for as long as the row says so. */
#pragma once

#include "controller/authority.h"
#include "controller/route.h"

/* Is it known, and not revoked? Returns 0, -EKEYREVOKED with what to do, or the database's negative
 * errno. */
int certificate_check(struct sql *db, const struct authority_subject *subject, struct error *err);

/* Signs what a node asks for, in a write transaction; the same request gets the same certificate as
 * before, as the answer may have been lost. ret_serial (may be NULL) is its serial. Answers, and
 * returns the status. */
int certificate_issue(struct exchange *x, struct sql *db, const char *node, const char *csr,
	char ret_serial[AUTHORITY_SERIAL_SIZE]);

/* Answers with the certificate of this serial, if it is this node's, was given for this very
 * request and is good. Returns the status, or 0 if there is none such. */
int certificate_give_again(
	struct exchange *x, struct sql *db, const char *serial, const char *node, const char *csr);

/* Revokes all that a node has. Returns how many, or negative errno. */
int certificate_revoke_all(
	struct sql *db, const char *node, uint64_t now_us, const char *reason, struct error *err);

extern const struct route certificate_routes[];
