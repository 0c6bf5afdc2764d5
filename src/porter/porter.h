/* What this node does for images: it fetches those that its daemon wants, from other nodes and from
 * origins, and gives to other nodes what it has. docs/distribution.md has the whole of it. */
#pragma once

#include <jansson.h>

#include "engine/daemon.h"
#include "porter/carrier.h"
#include "porter/herald.h"
#include "porter/holding.h"

struct porter {
	struct daemon daemon;
	struct credential credential;
	struct carrier *carrier;
	struct herald *herald;
	struct holdings *holdings;
	char *node;
	json_t *controllers, *origins; /* texts */
	json_t *banned; /* the names of peers that have sent something bad, with why */
};

/* Works until the daemon at the other end of `socket` ends. Returns 0, or negative errno. */
int porter_run(int socket, struct error *err);
