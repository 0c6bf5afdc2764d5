#include "engine/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "engine/sshkey.h"
#include "lib/child.h"
#include "lib/file.h"

#include <cmocka.h>

static void is_well_formed(void **state)
{
	struct vm_identity x AUTO(vm_identity_done);
	struct error err = {0};
	unsigned int parts[5];

	assert_int_equal(vm_identity_new("vm-1", &x, &err), 0);
	assert_int_equal(strlen(x.machine_id), 32);
	assert_int_equal(strspn(x.machine_id, "0123456789abcdef"), 32);
	assert_int_equal(x.machine_id[12], '4'); /* the version of the UUID */
	assert_int_equal(strlen(x.boot_id), 36);
	assert_int_equal(sscanf(x.boot_id, "%8x-%4x-%4x-%4x-%8x", &parts[0], &parts[1], &parts[2],
				 &parts[3], &parts[4]),
		5);
	assert_int_equal(parts[2] >> 12, 4);
	assert_int_equal(parts[3] >> 14, 2);
}

static void is_never_the_same_twice(void **state)
{
	struct vm_identity a AUTO(vm_identity_done), b AUTO(vm_identity_done);
	struct error err = {0};

	assert_int_equal(vm_identity_new("vm-1", &a, &err), 0);
	assert_int_equal(vm_identity_new("vm-1", &b, &err), 0);
	assert_memory_not_equal(a.entropy, b.entropy, sizeof(a.entropy));
	assert_string_not_equal(a.machine_id, b.machine_id);
	assert_string_not_equal(a.boot_id, b.boot_id);
	assert_string_not_equal(a.ssh_key, b.ssh_key);
	assert_string_not_equal(a.ssh_public_key, b.ssh_public_key);
}

/* OpenSSH itself derives the public key from the private one. */
static void ssh_key_is_one_for_openssh(void **state)
{
	char directory[] = "/tmp/identity-test.XXXXXX";
	autofree char *private_key = NULL, *public_key = NULL, *file = NULL, *derived = NULL;
	struct child_spec child = CHILD_SPEC_INIT;
	struct error err = {0};
	int r;

	assert_non_null(mkdtemp(directory));
	assert_true(asprintf(&file, "%s/key", directory) > 0);
	assert_int_equal(sshkey_make("vm-1", &private_key, &public_key), 0);
	assert_int_equal(file_replace(AT_FDCWD, file, private_key, strlen(private_key), 0600), 0);
	child.argv = (const char *[]){"ssh-keygen", "-y", "-f", file, NULL};
	r = child_output(&child, 10000, 4096, &derived, &err);
	file_remove_tree(AT_FDCWD, directory);
	if (r == -ENOENT)
		skip();
	assert_int_equal(r, 0);
	derived[strcspn(derived, "\n")] = '\0';
	assert_string_equal(derived, public_key);
}

static void long_comment_is_cut(void **state)
{
	autofree char *private_key = NULL, *public_key = NULL;
	char comment[1000];

	memset(comment, 'x', sizeof(comment) - 1);
	comment[sizeof(comment) - 1] = '\0';
	assert_int_equal(sshkey_make(comment, &private_key, &public_key), 0);
	assert_true(strlen(public_key) < 200);
}

static void host_name_is_one_that_a_guest_takes(void **state)
{
	static const char *const good[] = {"wn-0001", "a", "wn1.example.org"};
	static const char *const bad[] = {"", "-a", ".a", "a_b", "a b", "a\n", "a/b"};
	char text[VM_IDENTITY_HOSTNAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(vm_identity_is_hostname(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(vm_identity_is_hostname(bad[i]));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(vm_identity_is_hostname(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_well_formed),
		cmocka_unit_test(is_never_the_same_twice),
		cmocka_unit_test(ssh_key_is_one_for_openssh),
		cmocka_unit_test(long_comment_is_cut),
		cmocka_unit_test(host_name_is_one_that_a_guest_takes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
