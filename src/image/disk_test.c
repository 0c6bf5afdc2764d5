#include "image/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/child.h"
#include "lib/file.h"
#include "lib/path.h"

static int setup(void **state)
{
	char *directory = strdup("/tmp/wnodes-disk-test-XXXXXX");
	const char *path = getenv("PATH");
	autofree char *longer = path_format("%s:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");

	if (!directory || !mkdtemp(directory) || chdir(directory) < 0 || !longer)
		return -1;
	*state = directory;
	return setenv("PATH", longer, 1);
}

static int teardown(void **state)
{
	autofree char *directory = *state;

	return chdir("/") < 0 || file_remove_tree(AT_FDCWD, directory) < 0;
}

/* Runs a program for its output; a test that needs one that is not installed is skipped. */
static char *output(const char *const *argv)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};
	char *text = NULL;
	int r;

	spec.argv = argv;
	r = child_output(&spec, 120000, 1 << 20, &text, &err);
	if (r == -ENOENT)
		skip();
	if (r < 0)
		fail_msg("%s", err.text);
	return text;
}

static void run(const char *const *argv)
{
	free(output(argv));
}

/* An archive with a file of another user, a set-user-ID one, and things that must not come along.
 */
static void make_archive(void)
{
	static const char script[] =
		"mkdir -p root/boot root/dev root/etc; cd root; echo hello >'etc/a file';"
		" echo kernel >boot/vmlinuz; echo x >dev/x; ln -s etc link; echo s >suid;"
		" chmod 4755 suid; chmod 640 'etc/a file';"
		" tar -cf ../root.tar --owner 1234 --group 567 .";

	run((const char *const[]){"sh", "-euc", script, NULL});
}

static int write_disk(uint64_t size, struct error *err)
{
	autofree char *archive = path_absolute("root.tar"), *tree = path_absolute("tree");
	autofree char *disk = path_absolute("disk");
	autoclose int log_fd = memfd_create("log", MFD_CLOEXEC);
	const struct runner runner = {
		.log_fd = log_fd, .log_path = "log", .keep_fd = -1, .timeout_ms = 120000};

	assert_int_equal(file_replace(AT_FDCWD, "disk", "", 0, 0644), 0);
	return disk_write(&runner, archive, tree, disk, size, err);
}

static void make_disk(void)
{
	struct error err = {0};

	if (geteuid() != 0)
		run((const char *const[]){"fakeroot", "--version", NULL});
	run((const char *const[]){"mke2fs", "-V", NULL});
	make_archive();
	if (write_disk(DISK_SIZE_MIN, &err) < 0)
		fail_msg("%s", err.text);
}

static void assert_debugfs(const char *command, const char *expected)
{
	autofree char *text = output((const char *const[]){"debugfs", "-R", command, "disk", NULL});

	if (!strstr(text, expected))
		fail_msg("'%s' is not in what %s says:\n%s", expected, command, text);
}

static void owners_and_modes_are_the_archives(void **state)
{
	make_disk();
	assert_debugfs("stat \"/etc/a file\"", "User:  1234   Group:   567");
	assert_debugfs("stat \"/etc/a file\"", "Mode:  0640");
	assert_debugfs("stat /suid", "Mode:  04755");
	assert_debugfs("cat \"/etc/a file\"", "hello");
	assert_debugfs("stat /link", "Type: symlink");
}

static void kernel_and_devices_stay_out(void **state)
{
	make_disk();
	assert_debugfs("stat /boot", "Type: directory");
	assert_debugfs("stat /dev", "Type: directory");
	for (size_t i = 0; i < 2; i++) {
		autofree char *text = output((const char *const[]){
			"debugfs", "-R", i ? "ls /boot" : "ls /dev", "disk", NULL});

		assert_null(strstr(text, i ? "vmlinuz" : "x "));
	}
}

/* What is cut off is zeros: with them back the file system is whole. */
static void a_trimmed_disk_is_small_and_whole(void **state)
{
	struct stat st;
	int fd;

	make_disk();
	fd = open("disk", O_RDWR | O_CLOEXEC);
	assert_int_equal(disk_trim(fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size < 64 << 20);
	assert_int_equal(ftruncate(fd, DISK_SIZE_MIN), 0);
	close(fd);
	run((const char *const[]){"e2fsck", "-fn", "disk", NULL});
}

static void sizes_out_of_range_are_refused(void **state)
{
	assert_int_equal(write_disk(DISK_SIZE_MIN - 1, NULL), -EINVAL);
	assert_int_equal(write_disk(DISK_SIZE_MAX + 1, NULL), -EINVAL);
}

static void trimming_keeps_all_data(void **state)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct stat st;
	char byte = 0;

	assert_int_equal(ftruncate(fd, 1 << 30), 0);
	assert_int_equal(pwrite(fd, "x", 1, 10 << 20), 1);
	assert_int_equal(pwrite(fd, "y", 1, 20 << 20), 1);
	assert_int_equal(disk_trim(fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size > 20 << 20 && st.st_size <= 21 << 20);
	assert_int_equal(pread(fd, &byte, 1, 20 << 20), 1);
	assert_int_equal(byte, 'y');
	assert_int_equal(disk_trim(fd), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(disk_trim(fd), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(owners_and_modes_are_the_archives, setup, teardown),
		cmocka_unit_test_setup_teardown(kernel_and_devices_stay_out, setup, teardown),
		cmocka_unit_test_setup_teardown(a_trimmed_disk_is_small_and_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes_out_of_range_are_refused, setup, teardown),
		cmocka_unit_test(trimming_keeps_all_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
