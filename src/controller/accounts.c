#include "controller/accounts.h"

#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>

#include "controller/errand.h"
#include "engine/membership.h"
#include "lib/clock.h"

#define SECOND UINT64_C(1000000)
#define SLOTS  256

/* One account for each slot; who falls into the same one takes its place. */
struct slot {
	struct account *account;
	uint64_t since_us;
};

struct accounts {
	pthread_mutex_t lock; /* of the slots */
	struct errands *errands;
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
	a->errands = errands_new(ACCOUNTS_WAIT_S * SECOND);
	return a->errands ? a : accounts_free(a);
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
	errands_free(a->errands);
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

/* One that is not older than this. */
static struct account *slot_get(struct accounts *a, const struct slot *slot, uint64_t age_s)
{
	struct account *found = NULL;

	pthread_mutex_lock(&a->lock);
	if (slot->account && clock_now_us() - slot->since_us < age_s * SECOND)
		found = account_ref(slot->account);
	pthread_mutex_unlock(&a->lock);
	return found;
}

static void slot_set(struct slot *slot, struct account *account)
{
	account_unref(slot->account);
	slot->account = account_ref(account);
	slot->since_us = clock_now_us();
}

static void keep(struct accounts *a, struct account *account)
{
	pthread_mutex_lock(&a->lock);
	slot_set(&a->by_uid[account->uid % SLOTS], account);
	slot_set(slot_of_name(a, account->name), account);
	pthread_mutex_unlock(&a->lock);
}

/* By name, or by number if that is "". Somebody else may have it for longer than we wait. */
struct look_up {
	char name[CALLER_NAME_MAX];
	uid_t uid;
	struct account *account;
	struct error err; /* 0: it was found */
};

static int fill(struct account *account, const struct passwd *pw, struct error *err)
{
	if (strlen(pw->pw_name) >= sizeof(account->name))
		return fail(err, -ENOENT, "the name of user %u is too long", pw->pw_uid);
	snprintf(account->name, sizeof(account->name), "%s", pw->pw_name);
	account->uid = pw->pw_uid;
	return membership_load(account->name, &account->groups, err);
}

/* In the thread of errands: these functions are not for several. */
static void do_look_up(void *task)
{
	struct look_up *l = task;
	const struct passwd *pw;

	errno = 0;
	pw = l->name[0] ? getpwnam(l->name) : getpwuid(l->uid);
	if (pw)
		fill(l->account, pw, &l->err);
	else if (errno == 0 || errno == ENOENT || errno == ESRCH)
		fail(&l->err, -ENOENT, "there is no such account");
	else
		fail_errno(&l->err, -errno, "the accounts cannot be looked up");
}

static void drop_look_up(void *task)
{
	struct look_up *l = task;

	account_unref(l->account);
	free(l);
}

/* *ret is set in any case but when out of memory, and then to be dropped. */
static int run_look_up(struct accounts *a, const char *name, uid_t uid, struct look_up **ret)
{
	struct look_up *l = calloc(1, sizeof(*l));

	*ret = NULL;
	if (!l || !(l->account = calloc(1, sizeof(*l->account))))
		return free(l), -ENOMEM;
	l->account->references = 1;
	snprintf(l->name, sizeof(l->name), "%s", name ? name : "");
	l->uid = uid;
	*ret = l;
	return errands_run(a->errands, do_look_up, drop_look_up, l);
}

static int look_up(
	struct accounts *a, const char *name, uid_t uid, struct account **ret, struct error *err)
{
	struct look_up *l;
	int r = run_look_up(a, name, uid, &l);

	if (r == -ETIMEDOUT)
		return fail(err, r, "the accounts are not answered for by their directory");
	if (r < 0)
		return fail_errno(err, r, "the accounts cannot be looked up");
	r = l->err.code;
	if (r < 0) {
		fail(err, r, "%s", l->err.text);
	} else {
		keep(a, l->account);
		*ret = TAKE_PTR(l->account);
	}
	drop_look_up(l);
	return r;
}

static bool is_one(const struct account *account, const char *name, uid_t uid)
{
	return account && (name ? streq(account->name, name) : account->uid == uid);
}

static int find(struct accounts *a, struct slot *slot, const char *name, uid_t uid,
	struct account **ret, struct error *err)
{
	int r;

	if (name && strlen(name) >= CALLER_NAME_MAX)
		return fail(err, -ENOENT, "there is no such account");
	*ret = slot_get(a, slot, ACCOUNTS_KEEP_S);
	if (is_one(*ret, name, uid))
		return 0;
	*ret = account_unref(*ret);
	r = look_up(a, name, uid, ret, err);
	if (r == 0 || r == -ENOENT)
		return r;
	*ret = slot_get(a, slot, ACCOUNTS_STALE_S);
	if (is_one(*ret, name, uid))
		return 0;
	*ret = account_unref(*ret);
	return r;
}

int accounts_find_uid(struct accounts *a, uid_t uid, struct account **ret, struct error *err)
{
	return find(a, &a->by_uid[uid % SLOTS], NULL, uid, ret, err);
}

int accounts_find_name(
	struct accounts *a, const char *name, struct account **ret, struct error *err)
{
	return find(a, slot_of_name(a, name), name, 0, ret, err);
}
