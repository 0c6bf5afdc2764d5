#include "controller/accounts.h"

#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>

#include "engine/membership.h"
#include "lib/clock.h"

#define SLOTS 256

/* One account for each slot; who falls into the same one takes its place. */
struct slot {
	struct account *account;
	uint64_t until_us;
};

struct accounts {
	pthread_mutex_t lock;     /* of the slots */
	pthread_mutex_t database; /* of look-ups, which are not for several threads */
	struct slot by_uid[SLOTS], by_name[SLOTS];
};

struct account *account_unref(struct account *a)
{
	if (a && --a->references == 0) {
		strv_done(&a->groups);
		free(a);
	}
	return NULL;
}

static struct account *account_ref(struct account *a)
{
	a->references++;
	return a;
}

bool account_is(const struct account *a, const char *user_or_group)
{
	if (user_or_group[0] != '@')
		return streq(a->name, user_or_group);
	for (size_t i = 0; i < a->groups.count; i++)
		if (streq(a->groups.items[i], user_or_group + 1))
			return true;
	return false;
}

struct accounts *accounts_new(void)
{
	struct accounts *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->database, NULL);
	return a;
}

struct accounts *accounts_free(struct accounts *a)
{
	if (!a)
		return NULL;
	for (size_t i = 0; i < SLOTS; i++) {
		account_unref(a->by_uid[i].account);
		account_unref(a->by_name[i].account);
	}
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->database);
	free(a);
	return NULL;
}

static struct slot *slot_of_name(struct accounts *a, const char *name)
{
	uint32_t hash = 2166136261U; /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619U;
	return &a->by_name[hash % SLOTS];
}

static struct account *slot_get(struct accounts *a, const struct slot *slot)
{
	struct account *found = NULL;

	pthread_mutex_lock(&a->lock);
	if (slot->account && clock_now_us() < slot->until_us)
		found = account_ref(slot->account);
	pthread_mutex_unlock(&a->lock);
	return found;
}

static void slot_set(struct slot *slot, struct account *account)
{
	account_unref(slot->account);
	slot->account = account_ref(account);
	slot->until_us = clock_now_us() + ACCOUNTS_KEEP_S * UINT64_C(1000000);
}

static void keep(struct accounts *a, struct account *account)
{
	pthread_mutex_lock(&a->lock);
	slot_set(&a->by_uid[account->uid % SLOTS], account);
	slot_set(slot_of_name(a, account->name), account);
	pthread_mutex_unlock(&a->lock);
}

static int fill(struct account *account, const struct passwd *pw, struct error *err)
{
	if (strlen(pw->pw_name) >= sizeof(account->name))
		return fail(err, -ENOENT, "the name of user %u is too long", pw->pw_uid);
	snprintf(account->name, sizeof(account->name), "%s", pw->pw_name);
	account->uid = pw->pw_uid;
	return membership_load(account->name, &account->groups, err);
}

/* By name, or by number if that is NULL. */
static int look_up(
	struct accounts *a, const char *name, uid_t uid, struct account **ret, struct error *err)
{
	struct account *account AUTO(account_unrefp) = calloc(1, sizeof(*account));
	const struct passwd *pw;
	int r;

	if (!account)
		return fail(err, -ENOMEM, "out of memory");
	account->references = 1;
	pthread_mutex_lock(&a->database);
	errno = 0;
	pw = name ? getpwnam(name) : getpwuid(uid);
	if (pw)
		r = fill(account, pw, err);
	else if (errno == 0 || errno == ENOENT || errno == ESRCH)
		r = fail(err, -ENOENT, "there is no such account");
	else
		r = fail_errno(err, -errno, "the accounts cannot be looked up");
	pthread_mutex_unlock(&a->database);
	if (r < 0)
		return r;
	keep(a, account);
	*ret = TAKE_PTR(account);
	return 0;
}

int accounts_find_uid(struct accounts *a, uid_t uid, struct account **ret, struct error *err)
{
	*ret = slot_get(a, &a->by_uid[uid % SLOTS]);
	if (*ret && (*ret)->uid == uid)
		return 0;
	*ret = account_unref(*ret);
	return look_up(a, NULL, uid, ret, err);
}

int accounts_find_name(
	struct accounts *a, const char *name, struct account **ret, struct error *err)
{
	*ret = slot_get(a, slot_of_name(a, name));
	if (*ret && streq((*ret)->name, name))
		return 0;
	*ret = account_unref(*ret);
	return look_up(a, name, 0, ret, err);
}
