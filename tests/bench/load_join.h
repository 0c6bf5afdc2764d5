/* Simulated nodes get their certificates as real ones do: a token each, and a request. All have one
 * key, as a key for each costs the bench more than it tells. */
#pragma once

#include "site_load.h"

struct load_identity {
	EVP_PKEY *key;
	X509 **certificates; /* of nodes 0 to n-1 */
	unsigned int count;
};

/* Asks the first controller. Returns whether all have theirs; if not, says why on stderr. */
bool load_join(struct load *l, struct load_identity *ret);

void load_identity_done(struct load_identity *i);
