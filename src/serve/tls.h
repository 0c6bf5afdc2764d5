/* The certificate that a server shows: it can be changed while connections are served. */
#pragma once

#include <gnutls/abstract.h>

#include "lib/error.h"

/* Shows this from now on: a chain and its key (PEM), as texts. Nothing is changed after a failure.
 * Returns 0 or negative errno. */
int tls_set_certificate(const char *chain, const char *key, struct error *err);

/* Forgets all of them; no connection may be left. */
void tls_done(void);

/* As libmicrohttpd wants it. */
int tls_give_certificate(gnutls_session_t session, const gnutls_datum_t *names, int names_count,
	const gnutls_pk_algorithm_t *algorithms, int algorithms_count, gnutls_pcert_st **ret,
	unsigned int *ret_length, gnutls_privkey_t *ret_key);
