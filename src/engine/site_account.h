/* Whoever speaks with the site's controllers for a node: a user without rights. */
#pragma once

#include "lib/base.h"

/* [site] user, an account or a number; nobody where there is no such account, or it is root. */
void site_account_find(const char *name, uid_t *ret_uid, gid_t *ret_gid);
