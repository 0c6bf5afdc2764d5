/* What tests of identities stand on: a database with the site's tables, requests for certificates,
 * certificates of nobody's. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "sql/sql.h"

#define FIXTURE_NOW_US UINT64_C(1795800000000000) /* 2026-11-27 */
#define FIXTURE_DAY_US (UINT64_C(24) * 3600 * 1000000)

/* A fresh directory, which begins every path here, and a database in it. */
const char *fixture_open(struct sql **ret);
void fixture_close(struct sql *db);

/* A request of this name, signed by this key, PEM, for free(). */
char *fixture_csr(const char *name, EVP_PKEY *key);

/* A certificate of PEM as DER, for free(). */
unsigned char *fixture_der(const char *pem, size_t *ret_length);
