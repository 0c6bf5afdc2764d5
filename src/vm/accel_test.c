/* Built with a KVM_DEVICE that can always be opened, so that what was learned can be seen on every
 * machine. */
#include "vm/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

static char directory[] = "/tmp/accel-test.XXXXXX";
static char *qemu, *verdict_file;

static void write_file(const char *path, const char *text)
{
	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0700), 0);
}

static int setup(void **state)
{
	strcpy(directory + sizeof(directory) - 7, "XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	setenv("XDG_CACHE_HOME", directory, 1);
	qemu = path_format("%s/qemu", directory);
	verdict_file = path_format("%s/wnodes/accel", directory);
	write_file(qemu, "one");
	return 0;
}

static int teardown(void **state)
{
	free(qemu);
	free(verdict_file);
	return file_remove_tree(AT_FDCWD, directory);
}

static void assert_choice(enum accel expected, bool expected_trial)
{
	bool trial = !expected_trial;

	assert_int_equal(accel_choose(qemu, &trial), expected);
	assert_int_equal(trial, expected_trial);
}

static void names_are_those_of_the_option(void **state)
{
	assert_string_equal(accel_name(ACCEL_TCG), "tcg");
	assert_string_equal(accel_name(ACCEL_KVM), "kvm");
	assert_string_equal(accel_name(ACCEL_AUTO), "auto");
}

static void kvm_that_opens_is_only_a_trial(void **state)
{
	assert_choice(ACCEL_KVM, true);
}

static void guest_that_ran_makes_kvm_the_choice(void **state)
{
	accel_learn(qemu, true);
	assert_choice(ACCEL_KVM, false);
}

static void guest_that_did_not_run_makes_tcg_the_choice(void **state)
{
	accel_learn(qemu, false);
	assert_choice(ACCEL_TCG, false);
	accel_learn(qemu, true);
	assert_choice(ACCEL_KVM, false);
}

static void another_qemu_is_tried_again(void **state)
{
	accel_learn(qemu, false);
	assert_int_equal(unlink(qemu), 0);
	assert_choice(ACCEL_KVM, true);
	write_file(qemu, "two");
	/* File systems may give the same number to the next file. */
	assert_int_equal(utimensat(AT_FDCWD, qemu, (struct timespec[2]){{1, 0}, {1, 0}}, 0), 0);
	assert_choice(ACCEL_KVM, true);
}

static void verdict_of_an_earlier_boot_does_not_count(void **state)
{
	autofree char *text = NULL;
	size_t length;

	accel_learn(qemu, false);
	assert_int_equal(file_read(AT_FDCWD, verdict_file, 1000, &text, &length), 0);
	text[0] = text[0] == 'a' ? 'b' : 'a'; /* the boot's id comes first */
	write_file(verdict_file, text);
	assert_choice(ACCEL_KVM, true);
}

static void damaged_verdict_is_none(void **state)
{
	accel_learn(qemu, true);
	write_file(verdict_file, "");
	assert_choice(ACCEL_KVM, true);
	write_file(verdict_file, "garbage\n");
	assert_choice(ACCEL_KVM, true);
}

static void cache_that_cannot_be_written_is_no_failure(void **state)
{
	setenv("XDG_CACHE_HOME", "/proc/not/there", 1);
	accel_learn(qemu, false);
	assert_choice(ACCEL_KVM, true);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void translated_code_gets_a_part_of_the_memory_with_bounds(void **state)
{
	assert_int_equal(accel_cache_mib(1, 128), 32);
	assert_int_equal(accel_cache_mib(1, 1024), 64);
	assert_int_equal(accel_cache_mib(4, 2048), 128);
	assert_int_equal(accel_cache_mib(4, 65536), 256);
	assert_int_equal(accel_cache_mib(64, 1024), 512);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_those_of_the_option),
		cmocka_unit_test(translated_code_gets_a_part_of_the_memory_with_bounds),
		EACH(kvm_that_opens_is_only_a_trial),
		EACH(guest_that_ran_makes_kvm_the_choice),
		EACH(guest_that_did_not_run_makes_tcg_the_choice),
		EACH(another_qemu_is_tried_again),
		EACH(verdict_of_an_earlier_boot_does_not_count),
		EACH(damaged_verdict_is_none),
		EACH(cache_that_cannot_be_written_is_no_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
