/* ACCOUNT: the user that commands run as. */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

/* Makes the user and its groups known in root/etc/passwd and root/etc/group, and its home below
 * `root`, where they are not yet. Returns 0 or negative errno. */
int account_set(const char *root, const struct account *x, struct error *err);

/* Before a template is saved: what account_set() will need is read. */
void account_rehearse(const char *root);
