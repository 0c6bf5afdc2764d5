#include "image/rootfs.h"

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

static const char dep[] =
	"k/9p.ko:\nk/9pnet_virtio.ko:\nk/virtiofs.ko: k/fuse.ko\nk/fuse.ko:\nk/nfs.ko:\n"
	"k/nfsv4.ko: k/nfs.ko\nk/virtio_net.ko:\n";

static void put(const char *path, const char *text)
{
	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0644), 0);
}

static void put_modules(const char *release, const char *text)
{
	autofree char *directory = path_format("tree/lib/modules/%s", release);
	autofree char *list = path_format("%s/modules.dep", directory);
	autofree char *builtin = path_format("%s/modules.builtin", directory);

	assert_int_equal(file_make_dirs(directory, 0755), 0);
	put(list, text);
	put(builtin, "k/overlay.ko\n");
}

static int setup(void **state)
{
	static const char *const tar[] = {"tar", "-cf", "root.tar", "./boot", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	char *directory = strdup("/tmp/wnodes-rootfs-test-XXXXXX");

	if (!directory || !mkdtemp(directory) || chdir(directory) < 0 ||
		file_make_dirs("boot", 0755) < 0 || file_make_dirs("tree/etc", 0755) < 0)
		return -1;
	put("boot/vmlinuz-6.1.0-9", "nine");
	put("boot/vmlinuz-6.1.0-10", "ten");
	put("boot/vmlinuz-6.12.0-1", "no modules");
	put_modules("6.1.0-9", dep);
	put_modules("6.1.0-10", dep);
	*state = directory;
	spec.argv = tar;
	return child_run(&spec, 60000, NULL) < 0 || file_remove_tree(AT_FDCWD, "boot") < 0;
}

static int teardown(void **state)
{
	autofree char *directory = *state;

	return chdir("/") < 0 || file_remove_tree(AT_FDCWD, directory) < 0;
}

static int open_rootfs(struct rootfs **ret, struct error *err)
{
	autofree char *work = path_absolute(".");
	autoclose int log_fd = memfd_create("log", MFD_CLOEXEC);
	const struct runner runner = {
		.log_fd = log_fd, .log_path = "log", .keep_fd = -1, .timeout_ms = 60000};

	return rootfs_open(&runner, "root.tar", work, ret, err);
}

static void the_newest_kernel_that_has_modules_is_taken(void **state)
{
	struct rootfs *r AUTO(rootfs_freep) = NULL;
	char text[16] = "";

	assert_int_equal(open_rootfs(&r, NULL), 0);
	assert_string_equal(r->release, "6.1.0-10");
	assert_int_equal(read(r->kernel_fd, text, sizeof(text)), 3);
	assert_string_equal(text, "ten");
}

static void a_root_file_system_without_modules_is_refused(void **state)
{
	struct rootfs *r = NULL;
	struct error err = {0};

	assert_int_equal(file_remove_tree(AT_FDCWD, "tree/lib"), 0);
	assert_int_equal(open_rootfs(&r, &err), -ENOENT);
	assert_non_null(strstr(err.text, "linux-image"));
	assert_null(r);
}

static bool has(const struct strv *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i], text))
			return true;
	return false;
}

static void gateways_are_named_by_their_file_systems(void **state)
{
	struct strv gateways AUTO(strv_done) = {0};
	struct rootfs *r AUTO(rootfs_freep) = NULL;

	assert_int_equal(open_rootfs(&r, NULL), 0);
	assert_int_equal(rootfs_gateways(r, &gateways, NULL), 0);
	assert_true(has(&gateways, "9p") && has(&gateways, "virtiofs"));
	assert_true(has(&gateways, "nfs4") && has(&gateways, "fuse"));
}

static void a_kernel_that_lacks_a_file_system_is_refused(void **state)
{
	struct strv gateways AUTO(strv_done) = {0};
	struct rootfs *r AUTO(rootfs_freep) = NULL;
	struct error err = {0};

	assert_int_equal(open_rootfs(&r, NULL), 0);
	put_modules("6.1.0-10", "k/9p.ko:\nk/9pnet_virtio.ko:\n");
	assert_int_equal(rootfs_gateways(r, &gateways, &err), -ENOENT);
	assert_non_null(strstr(err.text, "virtiofs"));
}

static void the_systems_name_is_read(void **state)
{
	static const char *const texts[][2] = {
		{"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=x\n",
			"Debian GNU/Linux 12 (bookworm)"},
		{"NAME=x\nPRETTY_NAME=Plain", "Plain"},
		{"PRETTY_NAME='quoted'\n", "quoted"},
		{"PRETTY_NAME=\"\n", "\""},
	};
	static const char *const none[] = {
		"", "PRETTY_NAME=\n", "XPRETTY_NAME=a\n", "PRETTY_NAME=\"\"\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		autofree char *name = rootfs_parse_os_name(texts[i][0]);

		assert_non_null(name);
		assert_string_equal(name, texts[i][1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_null(rootfs_parse_os_name(none[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_newest_kernel_that_has_modules_is_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_root_file_system_without_modules_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(
			gateways_are_named_by_their_file_systems, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_kernel_that_lacks_a_file_system_is_refused, setup, teardown),
		cmocka_unit_test(the_systems_name_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
