/* The accounts of the operating system, remembered for some seconds: they may be in a directory far
 * away, and every request has a caller. While that does not answer, those who are known already
 * go on to be. For several threads. */
#pragma once

#include "controller/caller.h"
#include "lib/error.h"
#include "lib/strv.h"

#define ACCOUNTS_KEEP_S  10
#define ACCOUNTS_STALE_S 600 /* where they cannot be asked for */
#define ACCOUNTS_WAIT_S  2   /* for an answer */

/* Never changes; shared by counting. */
struct account {
	_Atomic(int) references;
	char name[CALLER_NAME_MAX];
	uid_t uid;
	struct strv groups; /* names */
};

struct account *account_unref(struct account *a);
DEFINE_CLEANUP(struct account *, account_unref)

/* Is it this user, or a member of this @group? */
bool account_is(const struct account *a, const char *user_or_group);

struct accounts;

/* NULL when out of memory. */
struct accounts *accounts_new(void);
struct accounts *accounts_free(struct accounts *a);
DEFINE_CLEANUP(struct accounts *, accounts_free)

/* *ret is the caller's to unref. Returns 0, -ENOENT if there is none, or another negative errno,
 * -ETIMEDOUT if nobody says within some seconds. */
int accounts_find_uid(struct accounts *a, uid_t uid, struct account **ret, struct error *err);
int accounts_find_name(
	struct accounts *a, const char *name, struct account **ret, struct error *err);
