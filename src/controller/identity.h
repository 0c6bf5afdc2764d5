/* Looks at what a request has shown, and says who the caller is. */
#pragma once

#include "controller/exchange.h"

/* What a credential of MUNGE was made for, if that came before the body: METHOD PATH SHA256. */
struct identity_promise {
	void *text; /* for free(); NULL: there is none */
	size_t length;
};

/* All of it is the request's, and is gone with it. */
struct identity_evidence {
	bool local; /* on the local socket; peer_uid is what the kernel says */
	uid_t peer_uid;
	const char *authorization; /* the header, at most one; NULL: none */
	void *tls_session;         /* gnutls_session_t; NULL: no TLS */
	const char *method;
	const char *target; /* as it was sent: path and query, not decoded */
	const void *body;
	size_t body_length;
	/* The body has not come yet, and what it has to be is kept here. NULL: it is there. */
	struct identity_promise *promise;
};

/* What is remembered between requests: accounts, certificates that were found to be good,
 * credentials that have served. NULL when out of memory. */
struct identity;
struct identity *identity_new(void);
struct identity *identity_free(struct identity *i);
DEFINE_CLEANUP(struct identity *, identity_free)

/* Is there an account of this name? Returns 1, 0 or negative errno. */
int identity_has_account(struct identity *i, const char *name, struct error *err);

/* Fills x->caller. Who has shown nothing is CALLER_NOBODY with ROLE_ANYONE, which is no error; what
 * was shown and is not valid is never passed over. `db` is for reading; NULL: the database is not
 * reached, which is an error only for whom it would have to be asked. Returns 0, or the status
 * (401, 503) with the error said. Called in several threads at once. */
int identity_find(struct exchange *x, const struct identity_evidence *e, struct sql *db);

/* Has the client shown a certificate, whatever it is worth? `tls_session` as above. */
bool identity_has_certificate(void *tls_session);

/* Is the body there that was promised? Returns 0, or the status 401 with the error said. */
int identity_check_promise(struct exchange *x, const struct identity_evidence *e,
	const struct identity_promise *promise);

/* The same by a certificate (DER) of whom the client's end of the connection has shown to have the
 * key. */
int identity_find_certificate(struct exchange *x, const void *der, size_t length, struct sql *db);
