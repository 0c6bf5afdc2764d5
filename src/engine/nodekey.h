/* The key by which a node is known to its site, and what it asks a certificate for with it. */
#pragma once

#include "lib/error.h"

/* A fresh key (EC P-256), as PEM for free(). Returns 0, or -EIO or -ENOMEM. */
int nodekey_make(char **ret, struct error *err);

/* A request (PKCS #10, PEM, for free()) for this key and this name. It is another one each time.
 * Returns 0, -EINVAL if `key` is none, or -ENOMEM. */
int nodekey_request(const char *key, const char *name, char **ret, struct error *err);
