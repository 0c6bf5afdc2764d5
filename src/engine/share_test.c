#include "engine/share.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

static char directory[] = "/tmp/share-test.XXXXXX";

/* A directory with "a", "a/b", "a:b", a file and a directory that may not be entered. */
static int setup(void **state)
{
	if (!mkdtemp(directory) || chdir(directory) < 0)
		return -1;
	return mkdir("a", 0755) || mkdir("a/b", 0755) || mkdir("closed", 0) ||
	       close(open("file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
}

static int teardown(void **state)
{
	return chdir("/") || file_remove_tree(AT_FDCWD, directory);
}

static void assert_share(const struct vm_share *s, const char *source, const char *target, bool ro)
{
	autofree char *wanted =
		source[0] == '/' ? strdup(source) : path_format("%s/%s", directory, source);

	assert_string_equal(s->source, wanted);
	assert_string_equal(s->target, target[0] ? target : wanted);
	assert_int_equal(s->read_only, ro);
}

/* What --mount makes of this text; `target` "" means the same path as on the host. */
static void assert_mount(const char *text, const char *source, const char *target, bool ro)
{
	struct share_list list AUTO(share_list_done) = {.count = 0};
	struct error err = {0};

	if (share_add(&list, text, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	assert_int_equal(list.count, 1);
	assert_share(&list.items[0], source, target, ro);
}

static void mount_takes_host_guest_and_mode(void **state)
{
	assert_mount("a", "a", "", false);
	assert_mount("a:ro", "a", "", true);
	assert_mount("a:rw", "a", "", false);
	assert_mount("a:/data", "a", "/data", false);
	assert_mount("a:/data:ro", "a", "/data", true);
	assert_mount("a:ro:/data", "a", "/data", true);
	assert_mount("/tmp", "/tmp", "", false);
	assert_mount("/:/host:ro", "/", "/host", true);
}

static void gateway_is_the_one_named_else_the_usual_one(void **state)
{
	struct share_list list AUTO(share_list_done) = {.count = 0};

	assert_int_equal(share_add(&list, "a:/best", NULL), 0);
	assert_int_equal(share_add(&list, "a:/named:gateway=9p:ro", NULL), 0);
	list.usual = &gateway_9p;
	assert_int_equal(share_add(&list, "a:/usual", NULL), 0);
	assert_int_equal(share_add(&list, "a:gateway=auto:/auto", NULL), 0);
	assert_null(list.items[0].gateway);
	assert_ptr_equal(list.items[1].gateway, &gateway_9p);
	assert_true(list.items[1].read_only);
	assert_ptr_equal(list.items[2].gateway, &gateway_9p);
	assert_null(list.items[3].gateway);
}

static void paths_are_made_absolute_and_plain(void **state)
{
	assert_mount("./a/../a//b/.", "a/b", "", false);
	assert_mount("a:/data//x/../y/", "a", "/data/y", false);
}

static void assert_refused(const char *text, int code, const char *because)
{
	struct share_list list AUTO(share_list_done) = {.count = 0};
	struct error err = {0};

	assert_int_equal(share_add(&list, text, &err), code);
	if (!strstr(err.text, because))
		fail_msg("'%s' does not say '%s'", err.text, because);
	assert_int_equal(list.count, 0);
}

static void mounts_that_make_no_sense_are_refused_with_the_reason(void **state)
{
	assert_refused("", -EINVAL, "no directory given");
	assert_refused(":/data", -EINVAL, "no directory given");
	assert_refused("missing", -ENOENT, "missing");
	assert_refused("file", -ENOTDIR, "no directory");
	assert_refused("a:relative", -EINVAL, "'relative' is no absolute path");
	assert_refused("a:/x:/y", -EINVAL, "'/y'");
	assert_refused("a:", -EINVAL, "HOST[:GUEST][:ro]");
	assert_refused("a:/", -EINVAL, "root directory");
	assert_refused("a:gateway=smoke", -EINVAL, "smoke");
	assert_refused("a:gateway=", -EINVAL, "gateway");
	assert_refused("a:/x/..", -EINVAL, "root directory");
	if (geteuid() != 0)
		assert_refused("closed", -EACCES, "closed");
}

static void two_mounts_on_one_place_are_refused(void **state)
{
	struct share_list list AUTO(share_list_done) = {.count = 0};
	struct error err = {0};

	assert_int_equal(share_add(&list, "a:/data", &err), 0);
	assert_int_equal(share_add(&list, "a/b:/data/", &err), -EEXIST);
	assert_non_null(strstr(err.text, "/data"));
	assert_int_equal(list.count, 1);
}

static void too_many_mounts_are_refused(void **state)
{
	struct share_list list AUTO(share_list_done) = {.count = 0};
	struct error err = {0};
	int r = 0, n = 0;

	for (; r == 0 && n < 1000; n++) {
		autofree char *text = path_format("a:/data%d", n);
		r = share_add(&list, text, &err);
	}
	assert_int_equal(r, -E2BIG);
	assert_int_equal(n, VM_SHARES_MAX + 1);
}

static struct share_list defaults_of(const char *home, const char *current)
{
	struct share_list list = {.count = 0};
	autofree char *home_copy = strdup(home);
	autofree char *current_copy = current ? strdup(current) : NULL;
	struct caller caller = {.home = home_copy, .directory = current_copy};
	struct error err = {0};

	if (share_add_defaults(&list, &caller, &err) < 0)
		fail_msg("%s", err.text);
	return list;
}

static void home_and_current_directory_are_shared_at_their_own_paths(void **state)
{
	autofree char *home = path_format("%s/a", directory);
	struct share_list list AUTO(share_list_done) = defaults_of(home, directory);

	assert_int_equal(list.count, 2);
	assert_share(&list.items[0], "a", "", false);
	assert_share(&list.items[1], directory, directory, false);
}

static void current_directory_below_home_needs_no_share_of_its_own(void **state)
{
	autofree char *below = path_format("%s/a/b", directory);
	struct share_list list AUTO(share_list_done) = defaults_of(directory, below);

	assert_int_equal(list.count, 1);
	assert_share(&list.items[0], directory, directory, false);
}

static void home_with_a_slash_at_its_end_is_shared_once(void **state)
{
	autofree char *home = path_format("%s//a/", directory);
	autofree char *current = path_format("%s/a", directory);
	struct share_list list AUTO(share_list_done) = defaults_of(home, current);

	assert_int_equal(list.count, 1);
	assert_share(&list.items[0], "a", "", false);
}

static void what_would_hide_the_guests_system_is_not_shared(void **state)
{
	static const char *const paths[] = {"/", "/usr", "/usr/share", "/etc", "/etc/ssl", "/dev",
		"/proc", "/sys", "/home", "/var", "/var/lib", "/run", "/bin"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct share_list list AUTO(share_list_done) =
			defaults_of("/nonexistent", paths[i]);

		if (list.count > 0)
			fail_msg("'%s' is shared", paths[i]);
	}
}

static void what_the_user_asked_for_covers_the_defaults(void **state)
{
	struct share_list list AUTO(share_list_done) = {.count = 0};
	autofree char *home = strdup(directory), *current = path_format("%s/a", directory);
	struct caller caller = {.home = home, .directory = current};
	autofree char *mount = path_format("/var/tmp:%s:ro", directory);
	struct error err = {0};

	assert_int_equal(share_add(&list, mount, &err), 0);
	assert_int_equal(share_add_defaults(&list, &caller, &err), 0);
	assert_int_equal(list.count, 1);
}

static void missing_home_and_unknown_directory_are_no_failure(void **state)
{
	struct share_list list AUTO(share_list_done) = defaults_of("/nonexistent", NULL);

	assert_int_equal(list.count, 0);
}

static void outer_directories_are_mounted_first(void **state)
{
	struct share_list list AUTO(share_list_done) = {.count = 0};
	static const char *const mounts[] = {"a:/x/y/z", "a:/x-y", "a:/x", "a:/x/y"};
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++)
		assert_int_equal(share_add(&list, mounts[i], &err), 0);
	share_sort(&list);
	for (size_t later = 0; later < list.count; later++)
		for (size_t i = 0; i < later; i++)
			assert_false(path_is_below(list.items[i].target, list.items[later].target));
}

static void assert_seen_as(const struct share_list *list, const char *path, const char *expected)
{
	autofree char *seen = share_translate(list, path);

	if (expected)
		assert_string_equal(seen, expected);
	else
		assert_null(seen);
}

static void host_paths_are_found_in_the_guest(void **state)
{
	char home[] = "/home/u", deep[] = "/home/u/deep", in[] = "/in", out[] = "/home/u";
	struct share_list list = {.count = 2};

	list.items[0] = (struct vm_share){&gateway_9p, home, out, false};
	list.items[1] = (struct vm_share){&gateway_9p, deep, in, false};
	assert_seen_as(&list, "/home/u", "/home/u");
	assert_seen_as(&list, "/home/u/x", "/home/u/x");
	assert_seen_as(&list, "/home/u/deep", "/in");
	assert_seen_as(&list, "/home/u/deep/y", "/in/y");
	assert_seen_as(&list, "/home/u/deeper", "/home/u/deeper");
	assert_seen_as(&list, "/home/user", NULL);
	assert_seen_as(&list, "/tmp", NULL);
}

static void paths_are_found_below_a_shared_root(void **state)
{
	char root[] = "/", host[] = "/host";
	struct share_list list = {.count = 1};

	list.items[0] = (struct vm_share){&gateway_9p, root, host, false};
	assert_seen_as(&list, "/", "/host");
	assert_seen_as(&list, "/home/u", "/host/home/u");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mount_takes_host_guest_and_mode),
		cmocka_unit_test(gateway_is_the_one_named_else_the_usual_one),
		cmocka_unit_test(paths_are_made_absolute_and_plain),
		cmocka_unit_test(mounts_that_make_no_sense_are_refused_with_the_reason),
		cmocka_unit_test(two_mounts_on_one_place_are_refused),
		cmocka_unit_test(too_many_mounts_are_refused),
		cmocka_unit_test(home_and_current_directory_are_shared_at_their_own_paths),
		cmocka_unit_test(current_directory_below_home_needs_no_share_of_its_own),
		cmocka_unit_test(home_with_a_slash_at_its_end_is_shared_once),
		cmocka_unit_test(what_would_hide_the_guests_system_is_not_shared),
		cmocka_unit_test(what_the_user_asked_for_covers_the_defaults),
		cmocka_unit_test(missing_home_and_unknown_directory_are_no_failure),
		cmocka_unit_test(outer_directories_are_mounted_first),
		cmocka_unit_test(host_paths_are_found_in_the_guest),
		cmocka_unit_test(paths_are_found_below_a_shared_root),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
