#include "hypervisor/names.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

#define PATIENCE_US (20 * UINT64_C(1000000))

static char top[] = "/tmp/names-test.XXXXXX";
static char user[] = "64200", accel[] = "tcg";
static struct settings settings = {.node_user = user, .accel = accel};
static sd_event *event;
static struct servant *servant;
static struct names *names;

static const struct name_told one = {"11111111-1111-4111-8111-111111111111", "vm-0001.example.org",
	"192.0.2.1", "52:54:07:00:00:01", "2001:db8::1"};
static const struct name_told two = {"22222222-2222-4222-8222-222222222222", "vm-0002.example.org",
	"192.0.2.2", "52:54:07:00:00:02", ""};
/* The same lease as `one`, lent again. */
static const struct name_told again = {"33333333-3333-4333-8333-333333333333",
	"vm-0001.example.org", "192.0.2.1", "52:54:07:00:00:01", "2001:db8::1"};

/* What is done by who writes what he is told behind what was told before. */
#define HOOK "#!/bin/sh\necho \"$(id -u) $*\" >>%s/told\n%s\n"

static void write_hook(const char *more)
{
	autofree char *text = path_format(HOOK, top, more);
	autofree char *path = path_format("%s/hook", top);

	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0755), 0);
}

static void open_names(void)
{
	struct error err = {0};

	if (names_new(event, &settings, servant, top, &names, &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct error err = {0};

	if (getuid() != 0)
		return 0;
	memcpy(top + sizeof(top) - 7, "XXXXXX", 6);
	if (!mkdtemp(top) || chmod(top, 0777) < 0 || sd_event_new(&event) < 0)
		return -1;
	settings.node_name_hook = path_format("%s/hook", top);
	write_hook("");
	if (servant_new(&settings, top, &servant, &err) < 0)
		return -1;
	open_names();
	return 0;
}

static int teardown(void **state)
{
	if (getuid() != 0)
		return 0;
	names = names_free(names);
	servant = servant_free(servant);
	event = sd_event_unref(event);
	free(settings.node_name_hook);
	return file_remove_tree(AT_FDCWD, top);
}

static void needs_root(void)
{
	if (getuid() != 0)
		skip();
}

static void settle(void)
{
	uint64_t end = clock_now_us() + PATIENCE_US;

	while (names_pending(names) > 0 && clock_now_us() < end)
		sd_event_run(event, 100000);
	assert_int_equal(names_pending(names), 0);
}

static void assert_told(const char *text)
{
	autofree char *path = path_format("%s/told", top), *content = NULL;
	size_t length;

	if (file_read(AT_FDCWD, path, 65536, &content, &length) < 0)
		assert_string_equal(text, "");
	else
		assert_string_equal(content, text);
}

static bool is_noted(const struct name_told *told)
{
	autofree char *path = path_format("%s/names/%s", top, told->vm);

	return access(path, F_OK) == 0;
}

static void a_name_comes_and_goes_without_rights(void **state)
{
	needs_root();
	names_add(names, &one);
	assert_true(is_noted(&one));
	settle();
	names_add(names, &two);
	settle();
	names_remove(names, one.vm);
	names_remove(names, "44444444-4444-4444-8444-444444444444");
	settle();
	assert_told("64200 add vm-0001.example.org 192.0.2.1 52:54:07:00:00:01 2001:db8::1\n"
		    "64200 add vm-0002.example.org 192.0.2.2 52:54:07:00:00:02\n"
		    "64200 remove vm-0001.example.org 192.0.2.1 52:54:07:00:00:01 2001:db8::1\n");
	assert_false(is_noted(&one));
	assert_true(is_noted(&two));
}

static void what_is_over_before_it_was_told_is_not_told(void **state)
{
	needs_root();
	names_add(names, &one);
	names_add(names, &two);
	names_remove(names, two.vm);
	settle();
	assert_told("64200 add vm-0001.example.org 192.0.2.1 52:54:07:00:00:01 2001:db8::1\n");
	assert_false(is_noted(&two));
}

static void next_daemon_tells_what_has_come_back_and_what_its_lease_tells_is_gone(void **state)
{
	needs_root();
	names_add(names, &one);
	names_add(names, &two);
	settle();
	names_free(names);
	open_names();
	assert_int_equal(names_pending(names), 0);
	names_claim(names, two.vm);
	settle();
	/* Nobody has seen the end of the first one's VM, but its lease is another's now. */
	names_add(names, &again);
	settle();
	assert_told("64200 add vm-0001.example.org 192.0.2.1 52:54:07:00:00:01 2001:db8::1\n"
		    "64200 add vm-0002.example.org 192.0.2.2 52:54:07:00:00:02\n"
		    "64200 add vm-0002.example.org 192.0.2.2 52:54:07:00:00:02\n"
		    "64200 remove vm-0001.example.org 192.0.2.1 52:54:07:00:00:01 2001:db8::1\n"
		    "64200 add vm-0001.example.org 192.0.2.1 52:54:07:00:00:01 2001:db8::1\n");
	assert_false(is_noted(&one));
	assert_true(is_noted(&again));
}

static void one_that_fails_is_tried_again(void **state)
{
	needs_root();
	write_hook("[ $(wc -l <$(dirname $0)/told) -gt 1 ]");
	names_add(names, &two);
	settle();
	assert_told("64200 add vm-0002.example.org 192.0.2.2 52:54:07:00:00:02\n"
		    "64200 add vm-0002.example.org 192.0.2.2 52:54:07:00:00:02\n");
}

static void without_a_program_nothing_is_noted(void **state)
{
	needs_root();
	free(settings.node_name_hook);
	settings.node_name_hook = NULL;
	names_add(names, &one);
	assert_false(is_noted(&one));
	assert_int_equal(names_pending(names), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_name_comes_and_goes_without_rights, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_over_before_it_was_told_is_not_told, setup, teardown),
		cmocka_unit_test_setup_teardown(
			next_daemon_tells_what_has_come_back_and_what_its_lease_tells_is_gone,
			setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_fails_is_tried_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
			without_a_program_nothing_is_noted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
