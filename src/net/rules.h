/* Rules of the kernel's firewall as text for the program nft, 5 ms a call: its library's licence,
 * GPL-2 alone, is none that this program could have beside its own. */
#pragma once

#include "lib/buffer.h"
#include "lib/error.h"

/* The rules of one transaction, as `nft -f` reads them: {0} is an empty one. */
struct rules {
	struct buffer text;
	bool failed; /* an addition ran out of memory: rules_run() tells */
};

void rules_add(struct rules *r, const char *format, ...) PRINTF(2, 3);

/* Takes the rules, which are not empty, and has the kernel take them, all or none. `what` they are
 * is for the message: "of a network". Returns 0, -ENOENT if there is no nft, or another negative
 * errno. */
int rules_run(struct rules *rules, const char *what, struct error *err);
