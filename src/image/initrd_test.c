#include "image/initrd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/child.h"
#include "lib/digest.h"
#include "lib/file.h"
#include "lib/path.h"

#define MODULES "root/usr/lib/modules/6.1.0-test/"

static const char dep[] = "kernel/virtio_pci.ko: kernel/virtio.ko\n"
			  "kernel/virtio.ko:\n"
			  "kernel/virtio_blk.ko: kernel/virtio.ko\n"
			  "kernel/ext4.ko.gz: kernel/jbd2.ko\n"
			  "kernel/jbd2.ko:\n"
			  "kernel/virtio_console.ko: kernel/virtio.ko\n"
			  "kernel/9p.ko: kernel/9pnet.ko\n"
			  "kernel/9pnet.ko:\n"
			  "kernel/9pnet_virtio.ko: kernel/9pnet.ko\n"
			  "kernel/snd.ko:\n";

static void put(const char *path, const void *data, size_t length)
{
	assert_int_equal(file_replace(AT_FDCWD, path, data, length, 0644), 0);
}

static void put_module(const char *name)
{
	autofree char *path = path_format(MODULES "kernel/%s", name);
	autofree char *text = path_format("module %s", name);

	put(path, text, strlen(text));
}

/* A root file system whose /lib is a link to /usr/lib, as Debian's is; absolute, so that following
 * it in the host's file system would find nothing. */
static int setup(void **state)
{
	static const char *const modules[] = {"virtio_pci.ko", "virtio.ko", "virtio_blk.ko",
		"ext4.ko", "jbd2.ko", "virtio_console.ko", "9p.ko", "9pnet.ko", "9pnet_virtio.ko",
		"snd.ko"};
	static const char *const gzip[] = {"gzip", MODULES "kernel/ext4.ko", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	char *directory = strdup("/tmp/wnodes-initrd-test-XXXXXX");

	if (!directory || !mkdtemp(directory) || chdir(directory) < 0 ||
		file_make_dirs(MODULES "kernel", 0755) < 0 || symlink("/usr/lib", "root/lib") < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++)
		put_module(modules[i]);
	put(MODULES "modules.dep", dep, sizeof(dep) - 1);
	put(MODULES "modules.builtin", "", 0);
	put("agent", "agent", 5);
	*state = directory;
	spec.argv = gzip;
	return child_run(&spec, 60000, NULL);
}

static int teardown(void **state)
{
	autofree char *directory = *state;

	return chdir("/") < 0 || file_remove_tree(AT_FDCWD, directory) < 0;
}

static const char *const no_modules[] = {NULL};

static int write_with(const char *agent, const char *const *modules, int *ret_fd, struct error *err)
{
	autoclose int root = open("root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*ret_fd = memfd_create("initrd", MFD_CLOEXEC);
	return initrd_write(*ret_fd, root, "6.1.0-test", agent, modules, err);
}

static int write_initrd(const char *agent, int *ret_fd, struct error *err)
{
	return write_with(agent, no_modules, ret_fd, err);
}

/* What cpio(1) says to the archive, or NULL if it is not installed. */
static char *run_cpio(int fd, const char *option)
{
	/* Not the device: only root can make it. */
	/* Only root can make devices. */
	const char *const argv[] = {"cpio", "--quiet", "--no-absolute-filenames", "-v", option,
		streq(option, "-t") ? NULL : "--nonmatching", "dev/console", NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};
	char *text = NULL;
	int r;

	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	spec.argv = argv;
	spec.stdin_fd = fd;
	r = child_output(&spec, 60000, 1 << 20, &text, &err);
	if (r == -ENOENT)
		skip();
	if (r < 0)
		fail_msg("%s", err.text);
	return text;
}

static void make(int *ret_fd)
{
	struct error err = {0};

	if (write_initrd("agent", ret_fd, &err) < 0)
		fail_msg("%s", err.text);
}

static void it_lists_what_a_boot_needs(void **state)
{
	static const char *const lines[] = {"drwxr-xr-x", " dev\n", " proc\n", " sys\n", " root\n",
		"crw-------", "5,   1", " dev/console\n", "-rwxr-xr-x", " init\n", " modules\n",
		" lib/modules/ext4.ko\n"};
	autoclose int fd = -1;
	autofree char *list = NULL;

	make(&fd);
	list = run_cpio(fd, "-t");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (!strstr(list, lines[i]))
			fail_msg("'%s' is not in:\n%s", lines[i], list);
	assert_null(strstr(list, "snd.ko"));
}

static void a_recipe_s_modules_come_last(void **state)
{
	static const char *const modules[] = {"snd", NULL}, *const unknown[] = {"nix", NULL};
	autoclose int fd = -1, other = -1;
	autofree char *list = NULL, *text = NULL;
	struct error err = {0};

	assert_int_equal(write_with("agent", modules, &fd, &err), 0);
	assert_int_equal(mkdir("out", 0755), 0);
	assert_int_equal(chdir("out"), 0);
	list = run_cpio(fd, "-id");
	assert_int_equal(file_read(AT_FDCWD, "modules", 4096, &text, NULL), 0);
	assert_non_null(strstr(text, "/9p.ko"));
	assert_true(strstr(text, "/9p.ko") < strstr(text, "/snd.ko"));
	assert_int_equal(chdir(".."), 0);
	assert_int_equal(write_with("agent", unknown, &other, &err), -ENOENT);
	assert_non_null(strstr(err.text, "nix"));
}

static void files_come_out_as_they_went_in(void **state)
{
	autoclose int fd = -1;
	autofree char *list = NULL, *text = NULL;

	make(&fd);
	assert_int_equal(mkdir("out", 0755), 0);
	assert_int_equal(chdir("out"), 0);
	list = run_cpio(fd, "-id");
	assert_int_equal(file_read(AT_FDCWD, "init", 100, &text, NULL), 0);
	assert_string_equal(text, "agent");
	free(TAKE_PTR(text));
	assert_int_equal(file_read(AT_FDCWD, "lib/modules/virtio_pci.ko", 100, &text, NULL), 0);
	assert_string_equal(text, "module virtio_pci.ko");
}

/* The guest loads by this list, with no knowledge of dependencies. */
static void modules_are_listed_in_loading_order(void **state)
{
	static const char *const before[][2] = {
		{"/virtio.ko", "/virtio_pci.ko"},
		{"/virtio.ko", "/virtio_blk.ko"},
		{"/jbd2.ko", "/ext4.ko"},
		{"/9pnet.ko", "/9p.ko"},
		{"/9pnet.ko", "/9pnet_virtio.ko"},
	};
	autoclose int fd = -1;
	autofree char *list = NULL, *text = NULL;

	make(&fd);
	assert_int_equal(mkdir("out", 0755), 0);
	assert_int_equal(chdir("out"), 0);
	list = run_cpio(fd, "-id");
	assert_int_equal(file_read(AT_FDCWD, "modules", 4096, &text, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		assert_non_null(strstr(text, before[i][0]));
		assert_true(strstr(text, before[i][0]) < strstr(text, before[i][1]));
	}
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		assert_non_null(str_after(line, "/lib/modules/"));
		assert_int_equal(access(line + 1, R_OK), 0);
	}
}

static void compressed_modules_are_unpacked(void **state)
{
	autoclose int fd = -1;
	autofree char *list = NULL, *text = NULL;

	make(&fd);
	assert_int_equal(mkdir("out", 0755), 0);
	assert_int_equal(chdir("out"), 0);
	list = run_cpio(fd, "-id");
	assert_int_equal(file_read(AT_FDCWD, "lib/modules/ext4.ko", 100, &text, NULL), 0);
	assert_string_equal(text, "module ext4.ko");
}

static void the_same_content_gives_the_same_archive(void **state)
{
	autoclose int first = -1, second = -1;
	char a[DIGEST_HEX_SIZE], b[DIGEST_HEX_SIZE];

	make(&first);
	put("agent", "agent", 5); /* another inode, another date */
	make(&second);
	assert_int_equal(digest_file(first, a), 0);
	assert_int_equal(digest_file(second, b), 0);
	assert_string_equal(a, b);
}

static void what_is_missing_is_named(void **state)
{
	autoclose int first = -1, second = -1, third = -1;
	struct error err = {0};

	assert_int_equal(write_initrd("none", &first, &err), -ENOENT);
	assert_non_null(strstr(err.text, "agent 'none'"));
	assert_int_equal(unlink(MODULES "kernel/9p.ko"), 0);
	assert_int_equal(write_initrd("agent", &second, &err), -ENOENT);
	assert_non_null(strstr(err.text, "9p.ko"));
	assert_int_equal(unlink(MODULES "modules.dep"), 0);
	assert_int_equal(write_initrd("agent", &third, &err), -ENOENT);
	assert_non_null(strstr(err.text, "modules.dep"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_lists_what_a_boot_needs, setup, teardown),
		cmocka_unit_test_setup_teardown(a_recipe_s_modules_come_last, setup, teardown),
		cmocka_unit_test_setup_teardown(files_come_out_as_they_went_in, setup, teardown),
		cmocka_unit_test_setup_teardown(
			modules_are_listed_in_loading_order, setup, teardown),
		cmocka_unit_test_setup_teardown(compressed_modules_are_unpacked, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_same_content_gives_the_same_archive, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_missing_is_named, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
