/* What a user may: by the settings, and by the table of roles. */
#pragma once

#include "controller/accounts.h"
#include "controller/caller.h"
#include "controller/settings.h"
#include "sql/sql.h"

/* Adds to c->roles and c->groups what the user c->name has. `account` is NULL if there is none of
 * that name. `db` is NULL while the database is not reached: what is in it is not given then.
 * Returns 0 or negative errno. */
int rights_load(struct sql *db, const struct controller_settings *settings,
	const struct account *account, struct caller *c, struct error *err);

/* Words of roles, "user endorser administrator", as a set of enum caller_role and back. */
#define RIGHTS_WORDS_MAX 64
unsigned int rights_parse(const char *words);
const char *rights_format(unsigned int roles, char text[RIGHTS_WORDS_MAX]);

/* Leaves of the caller's rights what a token of these words, limited to a host group ("": to
 * none), has of them. */
void rights_limit(struct caller *c, const char *words, const char *hostgroup);
