#include "controller/accounts.h"

#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include "lib/clock.h"

#include <cmocka.h>

#define SECOND UINT64_C(1000000)

static _Atomic(bool) away; /* the directory does not answer */
static _Atomic(uint64_t) skipped_us;
static _Atomic(int) asked;

static struct passwd *answer(void)
{
	static char name[] = "alice", empty[] = "";
	static struct passwd pw = {name, empty, 4711, 4711, empty, empty, empty};

	while (away)
		usleep(10000);
	asked++;
	return &pw;
}

/* In place of the C library's. */
struct passwd *getpwnam(const char *name)
{
	struct passwd *pw = answer();

	return streq(name, "alice") ? pw : NULL;
}

struct passwd *getpwuid(uid_t uid)
{
	struct passwd *pw = answer();

	return uid == 4711 ? pw : NULL;
}

/* And a clock that can be put forward. */
uint64_t clock_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec / 1000 + skipped_us;
}

static int find(struct accounts *a, const char *name)
{
	struct account *account AUTO(account_unrefp) = NULL;
	struct error err = {0};
	int r = name ? accounts_find_name(a, name, &account, &err)
		     : accounts_find_uid(a, 4711, &account, &err);

	assert_int_equal(r == 0, account != NULL);
	if (account)
		assert_string_equal(account->name, "alice");
	return r;
}

static void they_are_remembered_for_some_seconds(void **state)
{
	struct accounts *a AUTO(accounts_freep) = accounts_new();
	int before;

	assert_int_equal(find(a, "alice"), 0);
	before = asked;
	assert_int_equal(find(a, "alice"), 0);
	assert_int_equal(find(a, NULL), 0);
	assert_int_equal(asked, before);
	assert_int_equal(find(a, "bob"), -ENOENT);
	skipped_us += (ACCOUNTS_KEEP_S + 1) * SECOND;
	assert_int_equal(find(a, NULL), 0);
	assert_true(asked > before);
}

static void a_directory_that_does_not_answer_stalls_nobody(void **state)
{
	struct accounts *a AUTO(accounts_freep) = accounts_new();
	uint64_t start;

	assert_int_equal(find(a, "alice"), 0);
	away = true;
	skipped_us += (ACCOUNTS_KEEP_S + 1) * SECOND;
	start = clock_now_us();
	/* Who is known already goes on to be; of others nothing can be said. */
	assert_int_equal(find(a, "alice"), 0);
	assert_int_equal(find(a, "bob"), -ETIMEDOUT);
	assert_int_equal(find(a, NULL), 0);
	assert_true(clock_now_us() - start < 2 * ACCOUNTS_WAIT_S * SECOND);
	skipped_us += (ACCOUNTS_STALE_S + 1) * SECOND;
	assert_int_equal(find(a, "alice"), -ETIMEDOUT);
	away = false;
	for (int i = 0; i < 500 && find(a, "alice") < 0; i++)
		usleep(10000);
	assert_int_equal(find(a, "alice"), 0);
	assert_int_equal(find(a, "bob"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_are_remembered_for_some_seconds),
		cmocka_unit_test(a_directory_that_does_not_answer_stalls_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
