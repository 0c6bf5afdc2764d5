#include "image/bootstrap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "image/apt.h"

static bool has(const struct strv *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i], text))
			return true;
	return false;
}

static const char *const mirrors[] = {"http://m/debian", NULL};

static const struct bootstrap plain = {
	.suite = "bookworm",
	.mirrors = mirrors,
	.package = "our.deb",
	.output = "root.tar",
};

static void releases_get_their_updates(void **state)
{
	struct strv lines AUTO(strv_done) = {0};

	assert_int_equal(apt_sources("bookworm", mirrors, &lines, NULL), 0);
	assert_int_equal(lines.count, 3);
	assert_string_equal(lines.items[0], "deb http://m/debian bookworm main");
	assert_string_equal(lines.items[1], "deb http://m/debian bookworm-updates main");
	assert_string_equal(
		lines.items[2], "deb http://deb.debian.org/debian-security bookworm-security main");
}

static void suites_in_development_have_none(void **state)
{
	struct strv lines AUTO(strv_done) = {0};

	assert_int_equal(apt_sources("sid", mirrors, &lines, NULL), 0);
	assert_int_equal(lines.count, 1);
}

static void whole_lines_are_taken_as_they_are(void **state)
{
	static const char *const own[] = {"deb [trusted=yes] file:/srv/x ./", NULL};
	struct strv lines AUTO(strv_done) = {0};

	assert_int_equal(apt_sources("bookworm", own, &lines, NULL), 0);
	assert_int_equal(lines.count, 1);
	assert_string_equal(lines.items[0], own[0]);
}

static void what_is_no_suite_or_mirror_is_refused(void **state)
{
	static const char *const suites[] = {"", "a b", "../x", "a;b", "bookworm main", "$(id)"};
	static const char *const wrong[] = {
		"m/debian", "deb\thttp://x", "deb a\ndeb b", "http://m/debian bookworm", "-x"};
	struct strv lines AUTO(strv_done) = {0};

	for (size_t i = 0; i < ARRAY_SIZE(suites); i++)
		assert_int_equal(apt_sources(suites[i], mirrors, &lines, NULL), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *const list[] = {wrong[i], NULL};

		assert_int_equal(apt_sources("bookworm", list, &lines, NULL), -EINVAL);
	}
}

static void the_hosts_own_mirror_is_found_among_other_repositories(void **state)
{
	static const char targets[] = "Google|bookworm|main|http://google\n"
				      "Debian|bookworm|contrib|http://contrib\n"
				      "Debian|bookworm|main|cdrom://disc\n"
				      "Debian|bookworm|main|http://ours/debian/\n"
				      "Debian|bookworm-security|main|https://secure/";
	autofree char *found = apt_find_repository(targets, "bookworm");
	autofree char *last = apt_find_repository(targets, "bookworm-security");

	assert_string_equal(found, "http://ours/debian/");
	assert_string_equal(last, "https://secure/");
	assert_null(apt_find_repository(targets, "trixie"));
	assert_null(apt_find_repository("", "bookworm"));
	assert_null(apt_find_repository("Debian|bookworm", "bookworm"));
}

static void packages_are_words_that_apt_takes(void **state)
{
	static const char *const good[] = {
		"gromacs", "g++", "libc6:i386", "gcc=4:12.2.0-3", "zfs/bookworm-backports"};
	static const char *const bad[] = {
		"", "-o", "--x", "a b", "a;b", "a'b", "$(x)", "/etc/x", "./x.deb", "a\n", "a,b"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(apt_package_is_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(apt_package_is_valid(bad[i]));
}

static void the_users_packages_are_added_to_ours(void **state)
{
	static const char *const packages[] = {"gromacs", "python3", NULL};
	struct bootstrap b = plain;
	struct strv argv AUTO(strv_done) = {0};

	b.packages = packages;
	assert_int_equal(bootstrap_command(&b, &argv, NULL), 0);
	assert_true(has(&argv, "--include=gromacs"));
	assert_true(has(&argv, "--include=python3"));
	assert_true(has(&argv, "--include=linux-image-amd64"));
	assert_true(has(&argv, "--include=kmod"));
	assert_false(has(&argv, "--include=systemd"));
}

static void another_kernel_takes_the_place_of_ours(void **state)
{
	static const char *const packages[] = {"linux-image-rt-amd64", NULL};
	struct bootstrap b = plain;
	struct strv argv AUTO(strv_done) = {0};

	b.packages = packages;
	assert_int_equal(bootstrap_command(&b, &argv, NULL), 0);
	assert_true(has(&argv, "--include=linux-image-rt-amd64"));
	assert_false(has(&argv, "--include=linux-image-amd64"));
}

static void no_package_becomes_an_option(void **state)
{
	static const char *const packages[] = {"a", "--customize-hook=id", NULL};
	struct bootstrap b = plain;
	struct strv argv AUTO(strv_done) = {0};
	struct error err = {0};

	b.packages = packages;
	assert_int_equal(bootstrap_command(&b, &argv, &err), -EINVAL);
	assert_non_null(strstr(err.text, "--customize-hook=id"));
}

static void systemd_is_installed_when_asked_for(void **state)
{
	struct bootstrap b = plain;
	struct strv argv AUTO(strv_done) = {0};

	b.systemd = true;
	assert_int_equal(bootstrap_command(&b, &argv, NULL), 0);
	assert_true(has(&argv, "--include=systemd-sysv"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(releases_get_their_updates),
		cmocka_unit_test(suites_in_development_have_none),
		cmocka_unit_test(whole_lines_are_taken_as_they_are),
		cmocka_unit_test(what_is_no_suite_or_mirror_is_refused),
		cmocka_unit_test(the_hosts_own_mirror_is_found_among_other_repositories),
		cmocka_unit_test(packages_are_words_that_apt_takes),
		cmocka_unit_test(the_users_packages_are_added_to_ours),
		cmocka_unit_test(another_kernel_takes_the_place_of_ours),
		cmocka_unit_test(no_package_becomes_an_option),
		cmocka_unit_test(systemd_is_installed_when_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
