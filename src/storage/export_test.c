#include "storage/export.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "storage/nfsd.h"

#define VM   "0f8fad5b-d9cb-469f-a165-70867728950e"
#define NAME "10.7.0.10-" VM "-07"

static void a_name_tells_whose_it_is(void **state)
{
	char name[EXPORT_NAME_MAX], vm[UUID_TEXT_SIZE];
	struct in_addr address = {htonl(0x0a07000a)}, found = {0};

	export_format_name(address, VM, 7, name);
	assert_string_equal(name, NAME);
	assert_int_equal(export_parse_name(name, &found, vm), 0);
	assert_int_equal(found.s_addr, address.s_addr);
	assert_string_equal(vm, VM);
	address.s_addr = htonl(0xffffffff);
	export_format_name(address, VM, EXPORT_NUMBERS - 1, name);
	assert_string_equal(name, "255.255.255.255-" VM "-99");
	assert_int_equal(export_parse_name(name, &found, vm), 0);
}

/* A name becomes a path and an argument. */
static void what_is_no_name_is_none_of_ours(void **state)
{
	static const char *const wrong[] = {"", ".", "..", "10.7.0.10", "10.7.0.10-" VM,
		"10.7.0.10-" VM "-7", "10.7.0.10-" VM "-007", "10.7.0.10-" VM "-0x",
		"10.7.0.10-" VM "-0/", "10.7.0-" VM "-07", "10.7.0.10/" VM "-07",
		"10.7.0.10-0F8FAD5B-d9cb-469f-a165-70867728950e-07", "-" VM "-07",
		"10.7.0.10-" VM "-07x", "1000.1000.1000.1000-" VM "-07"};
	char vm[UUID_TEXT_SIZE];
	struct in_addr address;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(export_parse_name(wrong[i], &address, vm), -EINVAL);
}

static void all_is_done_as_the_user(void **state)
{
	const struct export read_write = {NAME, -1, 1234, 5678, false};
	const struct export read_only = {NAME, -1, 1234, 5678, true};
	autofree char *rw = export_options(&read_write), *ro = export_options(&read_only);

	assert_string_equal(rw,
		"rw,sync,secure,sec=sys,root_squash,all_squash,anonuid=1234,anongid=5678,"
		"subtree_check,mountpoint,fsid=0f8fad5b-d9cb-469f-a165-708677289507");
	assert_non_null(str_after(ro, "ro,sync,"));
}

static void a_server_that_does_not_serve_is_told(void **state)
{
	static const struct {
		const char *threads, *versions, *ports, *why;
	} rows[] = {
		{"8\n", "-2 +3 +4 +4.1 +4.2\n", "udp 2049\ntcp 2049\n", NULL},
		{"8\n", "+4 +4.2", "tcp 2049", NULL},
		{"0\n", "-2 +3 +4 +4.1 +4.2\n", "tcp 2049\n", "does not run"},
		{"", "+4.2", "tcp 2049\n", "does not run"},
		{"8\n", "+3 +4 +4.1 -4.2\n", "tcp 2049\n", "vers4.2"},
		{"8\n", "+3\n", "tcp 2049\n", "vers4.2"},
		{"8\n", "+4.2\n", "tcp 20490\nudp 2049\n", "port 2049"},
		{"8\n", "+4.2\n", "", "port 2049"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err = {0};
		int r = nfsd_check_files(rows[i].threads, rows[i].versions, rows[i].ports, &err);

		assert_int_equal(r < 0, rows[i].why != NULL);
		if (rows[i].why)
			assert_non_null(strstr(err.text, rows[i].why));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_tells_whose_it_is),
		cmocka_unit_test(what_is_no_name_is_none_of_ours),
		cmocka_unit_test(all_is_done_as_the_user),
		cmocka_unit_test(a_server_that_does_not_serve_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
