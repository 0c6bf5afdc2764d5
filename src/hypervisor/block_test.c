#include "hypervisor/block.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/file.h"
#include "lib/path.h"
#include "lib/uuid.h"

#include <cmocka.h>

static char directory[] = "/tmp/block-test.XXXXXX";
static struct block *b;
static int names; /* that the site has given */

static void open_block(void)
{
	struct error err = {0};

	b = block_free(b);
	if (block_new(directory, &b, &err) < 0)
		fail_msg("%s", err.text);
	block_set_wanted(b, "batch", 4);
}

static int setup(void **state)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	names = 0;
	return !mkdtemp(directory);
}

static int teardown(void **state)
{
	b = block_free(b);
	return file_remove_tree(AT_FDCWD, directory);
}

static json_t *lease_of(const char *id, int number)
{
	return json_pack("{s:s, s:o, s:o, s:s, s:i, s:s, s:[s], s:i, s:s}", "id", id, "name",
		json_sprintf("wn-%04d", number), "mac",
		json_sprintf("52:54:01:00:%02x:%02x", number / 256, number % 256), "address",
		"10.1.2.3", "prefix", 24, "gateway", "10.1.2.1", "nameservers", "10.1.2.2", "vlan",
		7, "pool", "batch");
}

/* The site gives and takes all that is asked for. Returns how many were given. */
static size_t serve(void)
{
	json_t *asked = block_ask(b), *given = json_array(), *row;
	size_t i, n = 0;

	json_array_foreach(json_object_get(asked, "give"), i, row)
	{
		bool known = json_object_get(row, "vm");

		n += !known;
		json_array_append_new(given,
			known ? json_incref(row)
			      : lease_of(json_string_value(json_object_get(row, "id")), ++names));
	}
	block_hear(b, given, json_object_get(asked, "take"));
	json_decref(asked);
	json_decref(given);
	return n;
}

static uint64_t ready(void)
{
	struct block_usage usage;

	block_get_usage(b, &usage);
	return usage.ready;
}

static uint64_t used(void)
{
	struct block_usage usage;

	block_get_usage(b, &usage);
	return usage.used;
}

static const char *name_of(json_t *lease)
{
	return json_string_value(json_object_get(lease, "name"));
}

static json_t *lend(const char *vm, pid_t keeper)
{
	const struct block_use use = {.vm = vm, .keeper = keeper, .uid = 1000, .job = "slurm.7"};

	return block_lend(b, &use);
}

static const char *vm_id(int n, char text[UUID_TEXT_SIZE])
{
	snprintf(text, UUID_TEXT_SIZE, "%08d-0000-4000-8000-000000000000", n % 100000000);
	return text;
}

static void block_is_filled_and_refilled(void **state)
{
	char vm[UUID_TEXT_SIZE];
	json_t *lease;

	open_block();
	assert_null(lend(vm_id(1, vm), getpid()));
	assert_int_equal(serve(), 4);
	assert_int_equal(ready(), 4);
	assert_null(block_ask(b));
	lease = lend(vm_id(1, vm), getpid());
	assert_string_equal(name_of(lease), "wn-0001");
	assert_null(json_object_get(lease, "pool"));
	json_decref(lease);
	assert_int_equal(serve(), 1);
	assert_int_equal(ready(), 4);
	assert_int_equal(used(), 1);
	/* What comes back is more than is to be kept: one goes. */
	block_take_back(b, vm);
	assert_int_equal(serve(), 0);
	assert_int_equal(ready(), 4);
	assert_int_equal(used(), 0);
}

static void use_is_told_until_it_is_heard(void **state)
{
	char vm[UUID_TEXT_SIZE];
	json_t *asked, *row;

	open_block();
	serve();
	json_decref(lend(vm_id(1, vm), getpid()));
	block_set_wanted(b, "batch", 3);
	for (int i = 0; i < 2; i++) {
		asked = block_ask(b);
		row = json_array_get(json_object_get(asked, "give"), 0);
		assert_int_equal(json_array_size(json_object_get(asked, "give")), 1);
		assert_string_equal(json_string_value(json_object_get(row, "vm")), vm);
		assert_string_equal(json_string_value(json_object_get(row, "job")), "slurm.7");
		assert_int_equal(json_integer_value(json_object_get(row, "uid")), 1000);
		json_decref(asked);
	}
	serve();
	assert_null(block_ask(b));
	block_set_wanted(b, "batch", 4);
	block_take_back(b, vm);
	asked = block_ask(b);
	row = json_array_get(json_object_get(asked, "give"), 0);
	assert_string_equal(json_string_value(json_object_get(row, "vm")), "");
	assert_null(json_object_get(row, "uid"));
	json_decref(asked);
	serve();
	assert_null(block_ask(b));
}

static void another_pool_gives_all_back_that_is_not_used(void **state)
{
	char vm[UUID_TEXT_SIZE];

	open_block();
	serve();
	json_decref(lend(vm_id(1, vm), getpid()));
	block_set_wanted(b, NULL, 4);
	serve();
	assert_int_equal(ready(), 0);
	assert_int_equal(used(), 1);
	assert_null(lend(vm_id(2, vm), getpid()));
	block_take_back(b, vm_id(1, vm));
	serve();
	assert_null(block_ask(b));
	assert_int_equal(used(), 0);
}

static void answer_that_was_lost_is_asked_for_again_with_the_same_ids(void **state)
{
	json_t *first, *second;

	open_block();
	first = block_ask(b);
	open_block();
	second = block_ask(b);
	assert_int_equal(json_array_size(json_object_get(second, "give")), 4);
	for (size_t i = 0; i < 4; i++) {
		const json_t *row = json_array_get(json_object_get(first, "give"), i);
		bool found = false;

		for (size_t k = 0; k < 4; k++)
			found |=
				json_equal(row, json_array_get(json_object_get(second, "give"), k));
		assert_true(found);
	}
	json_decref(first);
	json_decref(second);
}

static void living_vm_keeps_its_lease_over_a_restart(void **state)
{
	char vm[UUID_TEXT_SIZE];
	json_t *lease, *again;

	open_block();
	serve();
	lease = lend(vm_id(1, vm), getpid());
	json_decref(lend(vm_id(2, vm), 0)); /* its process is not known: it is dead */
	open_block();
	block_sweep(b);
	assert_int_equal(used(), 1);
	again = block_claim(b, vm_id(1, vm));
	assert_true(json_equal(lease, again));
	assert_null(block_claim(b, vm));
	assert_null(block_claim(b, vm_id(3, vm)));
	json_decref(lease);
	json_decref(again);
	block_take_back(b, vm_id(1, vm));
	assert_int_equal(used(), 0);
}

static void lies_are_passed_over(void **state)
{
	json_t *asked, *given = json_array(), *taken = json_array(), *ids;
	const char *one;

	open_block();
	serve();
	ids = block_ids(b);
	block_set_wanted(b, "batch", 6);
	asked = block_ask(b);
	one = json_string_value(
		json_object_get(json_array_get(json_object_get(asked, "give"), 0), "id"));
	json_array_append_new(given, json_null());
	json_array_append_new(given, json_string("x"));
	json_array_append_new(given, json_pack("{s:s}", "id", one));
	json_array_append_new(given, json_pack("{s:s}", "id", "../../etc/passwd"));
	json_array_append_new(given, lease_of("00000000-0000-4000-8000-000000000001", 77));
	json_array_append_new(given, lease_of(one, 2)); /* whose name another has */
	json_array_append(taken, json_array_get(ids, 0));
	json_array_append_new(taken, json_integer(3));
	assert_int_equal(block_hear(b, given, taken), 0);
	assert_int_equal(ready(), 4);
	json_decref(asked);
	json_decref(given);
	json_decref(taken);
	json_decref(ids);
}

static void lease_that_the_site_forgot_is_not_given_again(void **state)
{
	json_t *ids, *lease;
	char vm[UUID_TEXT_SIZE];
	size_t i;
	json_t *id;

	open_block();
	serve();
	lease = lend(vm_id(1, vm), getpid());
	ids = block_ids(b);
	json_array_foreach(ids, i, id) block_forget(b, json_string_value(id));
	assert_int_equal(ready(), 0);
	assert_int_equal(used(), 1);
	open_block();
	json_decref(block_claim(b, vm));
	block_take_back(b, vm);
	assert_int_equal(used() + ready(), 0);
	json_decref(ids);
	json_decref(lease);
}

static bool is_given_back(const char *id)
{
	json_t *asked = block_ask(b), *value;
	bool found = false;
	size_t i;

	json_array_foreach(json_object_get(asked, "take"), i, value) found |=
		strcmp(json_string_value(value), id) == 0;
	json_decref(asked);
	return found;
}

static void hear_of_another_place(const char *id, int number)
{
	json_t *given = json_pack("[o]", lease_of(id, number)), *taken = json_array();

	block_hear(b, given, taken);
	json_decref(given);
	json_decref(taken);
}

static void place_that_others_have_meanwhile_is_not_used_again(void **state)
{
	char vm[UUID_TEXT_SIZE];
	json_t *lease, *idle;
	const char *id;

	open_block();
	serve();
	lease = lend(vm_id(1, vm), getpid());
	id = json_string_value(json_object_get(lease, "id"));
	/* The node was silent for long, the site has lent its names, and is asked for this again.
	 */
	hear_of_another_place(id, 77);
	assert_int_equal(used(), 1);
	assert_false(is_given_back(id));
	open_block();
	json_decref(block_claim(b, vm));
	block_take_back(b, vm);
	assert_int_equal(used(), 0);
	assert_true(is_given_back(id));
	json_decref(lease);
	/* One that is ready, too. */
	serve();
	idle = lend(vm_id(2, vm), getpid());
	block_take_back(b, vm);
	id = json_string_value(json_object_get(idle, "id"));
	hear_of_another_place(id, 78);
	assert_true(is_given_back(id));
	json_decref(idle);
}

static void what_the_site_has_lent_and_we_do_not_know_is_given_back(void **state)
{
	const char *stray = "5a5a5a5a-0000-4000-8000-000000000001";
	json_t *ids, *id, *asked;
	char vm[UUID_TEXT_SIZE];
	size_t i;

	open_block();
	asked = block_ask(b);
	/* Wanted: on its way, the answer has not come. */
	json_array_foreach(json_object_get(asked, "give"), i, id)
		block_disown(b, json_string_value(json_object_get(id, "id")));
	json_decref(asked);
	assert_int_equal(serve(), 4);
	json_decref(lend(vm_id(1, vm), getpid()));
	ids = block_ids(b);
	json_array_foreach(ids, i, id) block_disown(b, json_string_value(id));
	block_disown(b, "../../x");
	json_array_foreach(ids, i, id) assert_false(is_given_back(json_string_value(id)));
	json_decref(ids);
	assert_int_equal(used(), 1);
	block_disown(b, stray);
	/* Also by a daemon after us. */
	open_block();
	assert_true(is_given_back(stray));
	serve();
	assert_false(is_given_back(stray));
}

/* Lends and takes back at random, and tells the pipe what it has lent, until it is killed. */
static void __attribute__((noreturn)) run_daemon(int seed, int fd)
{
	char vm[UUID_TEXT_SIZE];

	srandom((unsigned int)seed);
	open_block();
	for (int n = seed * 100000;; n++) {
		json_t *lease;
		int first = n;

		serve();
		lease = lend(vm_id(n, vm), getppid());
		if (lease && dprintf(fd, "%s %s\n", vm, name_of(lease)) < 0)
			_exit(1);
		json_decref(lease);
		if (random() % 2 && first > seed * 100000)
			block_take_back(b, vm_id(first - 1, vm));
	}
}

static void check_all_differ(void)
{
	json_t *ids = block_ids(b), *seen = json_object(), *id;
	size_t i;

	json_array_foreach(ids, i, id)
	{
		autofree char *path =
			path_format("%s/site/leases/%s", directory, json_string_value(id));
		json_t *json = json_load_file(path, 0, NULL);
		const char *name = name_of(json_object_get(json, "lease"));

		assert_non_null(name);
		assert_null(json_object_get(seen, name));
		json_object_set_new(seen, name, json_true());
		json_decref(json);
	}
	json_decref(ids);
	json_decref(seen);
}

static void killed_at_any_moment_no_name_is_given_twice(void **state)
{
	for (int round = 1; round <= 25; round++) {
		int ends[2];
		char text[65536];
		ssize_t n;
		pid_t pid;

		assert_int_equal(pipe(ends), 0);
		names = round * 1000; /* the site goes on counting */
		pid = fork();
		if (pid == 0)
			run_daemon(round, ends[1]);
		close(ends[1]);
		usleep((useconds_t)(1000 + random() % 8000));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		n = read(ends[0], text, sizeof(text) - 1);
		assert_true(n >= 0);
		close(ends[0]);
		open_block();
		check_all_differ();
		names = round * 1000 + 900;
		serve();
		check_all_differ();
	}
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(block_is_filled_and_refilled),
		EACH(use_is_told_until_it_is_heard),
		EACH(another_pool_gives_all_back_that_is_not_used),
		EACH(answer_that_was_lost_is_asked_for_again_with_the_same_ids),
		EACH(living_vm_keeps_its_lease_over_a_restart),
		EACH(lies_are_passed_over),
		EACH(lease_that_the_site_forgot_is_not_given_again),
		EACH(place_that_others_have_meanwhile_is_not_used_again),
		EACH(what_the_site_has_lent_and_we_do_not_know_is_given_back),
		EACH(killed_at_any_moment_no_name_is_given_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
