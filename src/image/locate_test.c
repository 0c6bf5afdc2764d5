#include "image/locate.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/file.h"
#include "lib/path.h"

/* The user's data directory is the test's own. The system's store is the machine's: whatever is in
 * it, the names that are used here are not. */
static int setup(void **state)
{
	char *directory = strdup("/tmp/wnodes-locate-test-XXXXXX");

	if (!directory || !mkdtemp(directory) || chdir(directory) < 0)
		return -1;
	*state = directory;
	return setenv("XDG_DATA_HOME", directory, 1);
}

static int teardown(void **state)
{
	autofree char *directory = *state;

	return chdir("/") < 0 || file_remove_tree(AT_FDCWD, directory) < 0;
}

static void add_image(const char *name)
{
	struct store *s AUTO(store_freep) = NULL;
	struct store_upload *u AUTO(store_upload_freep) = NULL;
	char format[] = "raw", architecture[] = "x86_64", digest[DIGEST_HEX_SIZE];
	struct manifest m = {.format = format,
		.architecture = architecture,
		.boot = IMAGE_BOOT_DISK,
		.disk_size = 1 << 20,
		.part_count = 1};

	assert_int_equal(locate_own_store(&s, NULL), 0);
	assert_int_equal(store_upload_open(s, &u, NULL), 0);
	assert_int_equal(file_write_all(store_upload_fd(u), name, strlen(name)), 0);
	assert_int_equal(store_upload_commit(u, &m.parts[0], NULL), 0);
	assert_int_equal(store_add(s, &m, name, "latest", digest, NULL), 0);
}

static int count_own(const struct locate_visit *where, const struct image *image, void *userdata)
{
	*(int *)userdata += where->own && streq(image->name, "locate-test");
	return 0;
}

static void an_image_is_found_in_the_users_store(void **state)
{
	struct store *s AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	autoclose int fd = -1;

	add_image("locate-test");
	assert_int_equal(locate_image("locate-test", &s, &image, NULL), 0);
	assert_non_null(str_after(store_directory(s), *state));
	fd = store_open_part(s, &image->manifest->parts[0], NULL);
	assert_true(fd >= 0);
}

static void looking_for_an_image_makes_no_store(void **state)
{
	struct store *s = NULL;
	struct image *image = NULL;
	struct error err = {0};

	assert_int_equal(locate_image("locate-test", &s, &image, &err), -ENOENT);
	assert_non_null(strstr(err.text, "locate-test"));
	assert_int_equal(access("wnodes", F_OK), -1);
	assert_null(s);
	assert_null(image);
}

static void what_there_is_instead_is_named(void **state)
{
	struct store *s = NULL;
	struct image *image = NULL;
	struct error err = {0};

	add_image("locate-test");
	assert_int_equal(locate_image("locate-test:1", &s, &image, &err), -ENOENT);
	assert_non_null(strstr(err.text, "locate-test:latest"));
	assert_int_equal(locate_image("Bad Name", &s, &image, &err), -EINVAL);
}

static void the_users_images_are_listed_as_own(void **state)
{
	int count = 0;

	add_image("locate-test");
	assert_int_equal(locate_list(count_own, &count, NULL), 0);
	assert_int_equal(count, 1);
}

static void an_image_of_the_machine_is_not_the_users_to_change(void **state)
{
	autofree char *own = strdup(getenv("XDG_DATA_HOME"));
	autofree char *system = path_format("%s/wnodes", own);
	autofree char *other = path_format("%s/other", own);
	struct error err = {0};

	add_image("locate-test");
	setenv("WNODES_SYSTEM_STORE", system, 1);
	setenv("XDG_DATA_HOME", other, 1);
	assert_int_equal(locate_explain_missing("locate-test", -ENOENT, &err), -EPERM);
	assert_non_null(strstr(err.text, "machine's"));
	assert_int_equal(locate_explain_missing("nosuch", -ENOENT, &err), -ENOENT);
	assert_int_equal(locate_explain_missing("locate-test", -EACCES, &err), -EACCES);
	setenv("XDG_DATA_HOME", own, 1);
	unsetenv("WNODES_SYSTEM_STORE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_image_is_found_in_the_users_store, setup, teardown),
		cmocka_unit_test_setup_teardown(
			looking_for_an_image_makes_no_store, setup, teardown),
		cmocka_unit_test_setup_teardown(what_there_is_instead_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_users_images_are_listed_as_own, setup, teardown),
		cmocka_unit_test_setup_teardown(
			an_image_of_the_machine_is_not_the_users_to_change, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
