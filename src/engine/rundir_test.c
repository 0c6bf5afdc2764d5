#include "engine/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/file.h"
#include "lib/path.h"
#include "lib/strv.h"

#include <cmocka.h>

#define PROCESSES 8
#define ROUNDS    50

static char top[] = "/tmp/rundir-test.XXXXXX";
static char *parent;

static int setup(void **state)
{
	strcpy(top + sizeof(top) - 7, "XXXXXX");
	if (!mkdtemp(top))
		return -1;
	setenv("XDG_RUNTIME_DIR", top, 1);
	parent = path_format("%s/wnodes", top);
	return 0;
}

static int teardown(void **state)
{
	free(parent);
	return file_remove_tree(AT_FDCWD, top);
}

static void open_one(struct rundir *r)
{
	struct error err = {0};

	if (rundir_open(r, &err) < 0)
		fail_msg("%s", err.text);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static int add_name(const char *name, const char *path, void *userdata)
{
	strv_add(userdata, name);
	return 0;
}

static struct strv list_all(void)
{
	struct strv names = {0};
	struct error err = {0};

	assert_int_equal(rundir_list(add_name, &names, &err), 0);
	return names;
}

/* Leaves a VM's directory as a killed owner does. Returns its path. */
static char *leave_behind(void)
{
	int ends[2], status;
	char path[256];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		struct rundir r;

		if (rundir_open(&r, NULL) == 0 && write(ends[1], r.path, strlen(r.path)) > 0)
			pause();
		_exit(1);
	}
	n = read(ends[0], path, sizeof(path) - 1);
	assert_true(n > 0);
	path[n] = '\0';
	close(ends[0]);
	close(ends[1]);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	return strdup(path);
}

static void directory_is_the_owners_alone_and_goes_with_it(void **state)
{
	struct rundir r;
	autofree char *path = NULL;
	struct stat st;

	open_one(&r);
	path = strdup(r.path);
	assert_non_null(str_after(r.name, "vm-"));
	assert_int_equal(strlen(r.name), 11);
	assert_non_null(str_after(r.path, parent));
	assert_int_equal(stat(r.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(st.st_uid, geteuid());
	rundir_done(&r);
	assert_false(exists(path));
	assert_null(r.path);
	rundir_done(&r);
}

static void names_are_not_used_twice(void **state)
{
	struct rundir a, b;

	open_one(&a);
	open_one(&b);
	assert_string_not_equal(a.name, b.name);
	rundir_done(&a);
	rundir_done(&b);
}

static void what_a_killed_owner_left_is_swept_by_the_next(void **state)
{
	autofree char *left = leave_behind();
	struct rundir r;

	assert_true(exists(left));
	open_one(&r);
	assert_false(exists(left));
	assert_true(exists(r.path));
	rundir_done(&r);
}

static void living_ones_are_kept(void **state)
{
	struct rundir a, b;

	open_one(&a);
	open_one(&b);
	assert_true(exists(a.path));
	rundir_done(&b);
	open_one(&b);
	assert_true(exists(a.path));
	rundir_done(&a);
	rundir_done(&b);
}

static void half_made_directory_is_swept(void **state)
{
	autofree char *half = path_format("%s/vm-0badf00d", parent);
	struct rundir r;

	assert_int_equal(mkdir(parent, 0700), 0);
	assert_int_equal(mkdir(half, 0700), 0);
	open_one(&r);
	assert_false(exists(half));
	rundir_done(&r);
}

static void other_files_are_left_alone(void **state)
{
	autofree char *other = path_format("%s/notes", parent);
	struct rundir r;

	assert_int_equal(mkdir(parent, 0700), 0);
	assert_int_equal(mkdir(other, 0700), 0);
	open_one(&r);
	assert_true(exists(other));
	rundir_done(&r);
	assert_true(exists(other));
}

/* Only what is known to be dead is swept. */
static void directory_whose_lock_cannot_be_looked_at_is_left_alone(void **state)
{
	autofree char *odd = path_format("%s/vm-0badf00d", parent);
	autofree char *lock = path_format("%s/lock", odd);
	struct rundir r;

	assert_int_equal(mkdir(parent, 0700), 0);
	assert_int_equal(mkdir(odd, 0700), 0);
	assert_int_equal(symlink("elsewhere", lock), 0);
	open_one(&r);
	assert_true(exists(odd));
	rundir_done(&r);
}

static void parent_of_others_is_not_used(void **state)
{
	struct error err = {0};
	struct rundir r;

	assert_int_equal(mkdir(parent, 0700), 0);
	assert_int_equal(chmod(parent, 0777), 0);
	assert_int_equal(rundir_open(&r, &err), -EPERM);
	assert_non_null(strstr(err.text, "XDG_RUNTIME_DIR"));
	assert_int_equal(rmdir(parent), 0);
	assert_int_equal(symlink("/tmp", parent), 0);
	assert_int_equal(rundir_open(&r, &err), -EPERM);
	if (geteuid() != 0)
		return;
	assert_int_equal(unlink(parent), 0);
	assert_int_equal(mkdir(parent, 0700), 0);
	assert_int_equal(chown(parent, 1, 1), 0);
	assert_int_equal(rundir_open(&r, &err), -EPERM);
}

static void list_has_the_living_in_order(void **state)
{
	autofree char *left = leave_behind();
	struct rundir r[4];
	struct strv names AUTO(strv_done) = {0};

	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		open_one(&r[i]);
	free(left);
	left = leave_behind();
	names = list_all();
	assert_int_equal(names.count, 4);
	for (size_t i = 1; i < names.count; i++)
		assert_true(strcmp(names.items[i - 1], names.items[i]) < 0);
	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		rundir_done(&r[i]);
}

static void list_without_any_directory_is_empty(void **state)
{
	struct strv names AUTO(strv_done) = list_all();

	assert_int_equal(names.count, 0);
}

static int stop_at_once(const char *name, const char *path, void *userdata)
{
	return 7;
}

static void list_stops_where_it_is_told_to(void **state)
{
	struct rundir a, b;

	open_one(&a);
	open_one(&b);
	assert_int_equal(rundir_list(stop_at_once, NULL, NULL), 7);
	rundir_done(&a);
	rundir_done(&b);
}

static void vm_is_found_by_a_unique_beginning(void **state)
{
	autofree char *expected = NULL;
	struct error err = {0};
	char *socket = NULL;
	struct rundir r;

	open_one(&r);
	expected = path_format("%s/control", r.path);
	for (size_t n = strlen(r.name); n >= 3; n--) {
		r.name[n] = '\0';
		assert_int_equal(rundir_find(r.name, &socket, &err), 0);
		assert_string_equal(socket, expected);
		free(socket);
	}
	assert_int_equal(rundir_find("vm-x", &socket, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no VM of yours is called 'vm-x'"));
	rundir_done(&r);
}

static void ambiguous_beginning_is_refused(void **state)
{
	struct error err = {0};
	struct rundir a, b;
	char *socket = NULL;

	open_one(&a);
	open_one(&b);
	assert_int_equal(rundir_find("vm-", &socket, &err), -ENOENT);
	assert_non_null(strstr(err.text, "more than one"));
	assert_int_equal(rundir_find(a.name, &socket, &err), 0);
	free(socket);
	rundir_done(&a);
	rundir_done(&b);
}

/* One of several processes that make, look at and remove directories. */
static int busy_process(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct strv names AUTO(strv_done) = {0};
		struct error err = {0};
		struct rundir r;
		bool seen = false;

		if (rundir_open(&r, &err) < 0 || rundir_list(add_name, &names, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			return 1;
		}
		for (size_t n = 0; n < names.count; n++)
			seen |= streq(names.items[n], r.name);
		if (!seen || !exists(r.path)) {
			fprintf(stderr, "%s is gone\n", r.name);
			return 2;
		}
		rundir_done(&r);
	}
	return 0;
}

/* One that only looks, which holds each lock for a moment. */
static int looking_process(void)
{
	for (int i = 0; i < 40 * ROUNDS; i++) {
		struct strv names AUTO(strv_done) = {0};

		if (rundir_list(add_name, &names, NULL) < 0)
			return 1;
	}
	return 0;
}

static void many_processes_do_not_disturb_each_other(void **state)
{
	struct strv names AUTO(strv_done) = {0};
	pid_t pids[PROCESSES];
	int status;

	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(i % 2 ? looking_process() : busy_process());
	}
	for (int i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	names = list_all();
	assert_int_equal(names.count, 0);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(directory_is_the_owners_alone_and_goes_with_it),
		EACH(names_are_not_used_twice),
		EACH(what_a_killed_owner_left_is_swept_by_the_next),
		EACH(living_ones_are_kept),
		EACH(half_made_directory_is_swept),
		EACH(other_files_are_left_alone),
		EACH(directory_whose_lock_cannot_be_looked_at_is_left_alone),
		EACH(parent_of_others_is_not_used),
		EACH(list_has_the_living_in_order),
		EACH(list_without_any_directory_is_empty),
		EACH(list_stops_where_it_is_told_to),
		EACH(vm_is_found_by_a_unique_beginning),
		EACH(ambiguous_beginning_is_refused),
		EACH(many_processes_do_not_disturb_each_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
