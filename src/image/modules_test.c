#include "image/modules.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char dep[] =
	"kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko\n"
	"kernel/fs/jbd2/jbd2.ko: kernel/lib/crc16.ko\n"
	"kernel/lib/crc16.ko:\n"
	"kernel/fs/mbcache.ko:\n"
	"kernel/drivers/virtio/virtio-ring.ko.xz: kernel/drivers/virtio/virtio.ko.xz\n"
	"kernel/drivers/virtio/virtio.ko.xz:\n"
	"kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio.ko.xz"
	" kernel/drivers/virtio/virtio-ring.ko.xz\n";
static const char builtin[] = "kernel/fs/fuse/fuse.ko\n";

static size_t position(const struct strv *list, const char *path)
{
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i], path))
			return i;
	fail_msg("no '%s'", path);
	return 0;
}

static int resolve(const char *text, const char *name, struct strv *ret, struct error *err)
{
	const struct module_want wanted[] = {{name, false}, {NULL, false}};

	return modules_resolve(text, builtin, wanted, ret, err);
}

static void a_module_comes_after_all_that_it_needs_and_once(void **state)
{
	static const struct module_want wanted[] = {
		{"jbd2", false}, {"ext4", false}, {"virtio_pci", false}, {NULL, false}};
	struct strv list AUTO(strv_done) = {0};

	assert_int_equal(modules_resolve(dep, builtin, wanted, &list, NULL), 0);
	assert_int_equal(list.count, 7);
	assert_true(
		position(&list, "kernel/lib/crc16.ko") < position(&list, "kernel/fs/jbd2/jbd2.ko"));
	assert_true(position(&list, "kernel/fs/jbd2/jbd2.ko") <
		    position(&list, "kernel/fs/ext4/ext4.ko"));
	assert_true(position(&list, "kernel/drivers/virtio/virtio.ko.xz") <
		    position(&list, "kernel/drivers/virtio/virtio-ring.ko.xz"));
	assert_true(position(&list, "kernel/drivers/virtio/virtio-ring.ko.xz") <
		    position(&list, "kernel/drivers/virtio/virtio_pci.ko.xz"));
}

static void dashes_and_underscores_are_the_same(void **state)
{
	struct strv list AUTO(strv_done) = {0};

	assert_int_equal(resolve(dep, "virtio_ring", &list, NULL), 0);
	assert_int_equal(list.count, 2);
}

static void what_is_built_into_the_kernel_needs_no_file(void **state)
{
	struct strv list AUTO(strv_done) = {0};

	assert_int_equal(resolve(dep, "fuse", &list, NULL), 0);
	assert_int_equal(list.count, 0);
}

static void a_missing_module_is_named_unless_it_is_optional(void **state)
{
	static const struct module_want wanted[] = {{"nonesuch", true}, {NULL, false}};
	struct strv list AUTO(strv_done) = {0};
	struct error err = {0};

	assert_int_equal(modules_resolve(dep, builtin, wanted, &list, NULL), 0);
	assert_int_equal(resolve(dep, "nonesuch", &list, &err), -ENOENT);
	assert_non_null(strstr(err.text, "nonesuch"));
	/* A part of a name is another name. */
	assert_int_equal(resolve(dep, "ext", &list, NULL), -ENOENT);
	assert_int_equal(resolve(dep, "xt4", &list, NULL), -ENOENT);
}

static void lists_that_make_no_sense_are_refused(void **state)
{
	static const char *const texts[] = {
		"a.ko: a.ko\n",
		"a.ko: b.ko\nb.ko: a.ko\n",
		"a.ko: b.ko\n",
		"a.ko: what\n",
		"a.ko: .ko\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct strv list AUTO(strv_done) = {0};

		if (resolve(texts[i], "a", &list, NULL) != -EINVAL)
			fail_msg("accepted: %s", texts[i]);
	}
}

static void lists_without_a_last_newline_are_read_to_their_end(void **state)
{
	struct strv list AUTO(strv_done) = {0};

	assert_int_equal(resolve("b.ko:\na.ko: b.ko", "a", &list, NULL), 0);
	assert_int_equal(list.count, 2);
	assert_int_equal(resolve("", "a", &list, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_module_comes_after_all_that_it_needs_and_once),
		cmocka_unit_test(dashes_and_underscores_are_the_same),
		cmocka_unit_test(what_is_built_into_the_kernel_needs_no_file),
		cmocka_unit_test(a_missing_module_is_named_unless_it_is_optional),
		cmocka_unit_test(lists_that_make_no_sense_are_refused),
		cmocka_unit_test(lists_without_a_last_newline_are_read_to_their_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
