/* LVM is shell scripts here, which write down how they were called; tests/system/volume_node.bats
 * has the real one. */
#include "storage/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/file.h"

static const struct volume_pool pool = {"vg-1", "wnodes", "wnodes.node1"};

struct fixture {
	char directory[64], log[96];
};

static int setup(void **state)
{
	static struct fixture f;

	snprintf(f.directory, sizeof(f.directory), "/tmp/wnodes-volume-test.XXXXXX");
	assert_non_null(mkdtemp(f.directory));
	snprintf(f.log, sizeof(f.log), "%s/log", f.directory);
	setenv("PATH", f.directory, 1);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	const struct fixture *f = *state;

	setenv("PATH", "/usr/bin:/bin", 1);
	return file_remove_tree(AT_FDCWD, f->directory);
}

/* Makes a command that notes its arguments, and does this. */
static void fake(const struct fixture *f, const char *name, const char *script)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f->directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\necho \"${0##*/} $*\" >>%s\n%s\n", f->log, script);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0755), 0);
}

static void assert_logged(const struct fixture *f, const char *line)
{
	autofree char *text = NULL;
	size_t length;

	assert_int_equal(file_read(AT_FDCWD, f->log, 65536, &text, &length), 0);
	if (!strstr(text, line))
		fail_msg("no '%s' in: %s", line, text);
}

static void names_are_of_few_letters(void **state)
{
	assert_true(volume_name_is_valid("wnodes_v_0123456789abcdef"));
	assert_false(volume_name_is_valid("wnodes_"));
	assert_false(volume_name_is_valid("root"));
	assert_false(volume_name_is_valid("wnodes_a/b"));
	assert_false(volume_name_is_valid("wnodes_a b"));
	assert_false(volume_name_is_valid("wnodes_0123456789abcdef0123456789"));
}

#define ROOM                                                                            \
	"{\"report\":[{\"lv\":[{\"lv_name\":\"wnodes\",\"segtype\":\"%s\",\"lv_size\":" \
	"\"4294967296\",\"data_percent\":\"%s\",\"metadata_percent\":\"11.33\"}]}]}"

static void a_pool_says_how_full_it_is(void **state)
{
	struct volume_room room;
	struct error err;
	char text[512];

	snprintf(text, sizeof(text), ROOM, "thin-pool", "12.50");
	assert_int_equal(volume_parse_room(text, &room, &err), 0);
	assert_int_equal(room.bytes, UINT64_C(4) << 30);
	assert_true(room.data_percent > 12.4 && room.data_percent < 12.6);
	assert_int_equal(volume_check_room(&pool, &room, UINT64_C(1) << 30, &err), 0);
	assert_int_equal(volume_check_room(&pool, &room, UINT64_C(5) << 30, &err), -ENOSPC);
	snprintf(text, sizeof(text), ROOM, "thin-pool", "90.00");
	assert_int_equal(volume_parse_room(text, &room, &err), 0);
	assert_int_equal(volume_check_room(&pool, &room, 1, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "lvextend"));
	snprintf(text, sizeof(text), ROOM, "linear", "");
	assert_int_equal(volume_parse_room(text, &room, &err), -EINVAL);
	assert_int_equal(volume_parse_room("{}", &room, &err), -EPROTO);
	assert_int_equal(volume_parse_room("", &room, &err), -EPROTO);
}

static void the_kernel_says_how_full_a_pool_is(void **state)
{
	struct volume_room room;

	assert_int_equal(room_parse("3 419/4096 28/16384 - rw no_discard_passdown "
				    "queue_if_no_space - 1024 ",
				 1 << 30, &room),
		0);
	assert_int_equal(room.bytes, 1 << 30);
	assert_true(room.tables_percent > 10.2 && room.tables_percent < 10.3);
	assert_true(room.data_percent > 0.16 && room.data_percent < 0.18);
	assert_int_equal(room_parse("Fail", 1, &room), -EPROTO);
	assert_int_equal(room_parse("Error", 1, &room), -EPROTO);
	assert_int_equal(room_parse("1 2/0 3/4 - rw", 1, &room), -EPROTO);
	assert_true(room_ask("no-such", &room) < 0);
}

static void the_commands_are_lvms(void **state)
{
	const struct fixture *f = *state;
	struct error err;

	fake(f, "lvcreate", "");
	fake(f, "lvremove", "");
	fake(f, "dmsetup", "");
	assert_int_equal(volume_make(&pool, "wnodes_v_1", 1 << 30, &err), 0);
	assert_logged(f,
		"lvcreate --quiet --yes --type thin --addtag wnodes.node1 -n wnodes_v_1 -V "
		"1073741824B --thinpool vg-1/wnodes\n");
	assert_int_equal(volume_remove(&pool, "wnodes_v_1", &err), 0);
	assert_logged(f, " vg-1/wnodes_v_1\n");
	assert_int_equal(volume_cut(&pool, "wnodes_v_1", &err), 0);
	assert_logged(f, "dmsetup wipe_table vg--1-wnodes_v_1\n");
}

static void what_lvm_complains_of_is_told(void **state)
{
	const struct fixture *f = *state;
	struct volume_room room;
	struct error err;

	assert_int_equal(volume_look(&pool, &room, &err), -ENOENT);
	assert_non_null(strstr(err.text, "install LVM"));
	fake(f, "lvs", "echo '  Volume group \"vg-1\" not found' >&2; exit 5");
	assert_true(volume_look(&pool, &room, &err) < 0);
	assert_non_null(strstr(err.text, "Volume group \"vg-1\" not found"));
	fake(f, "lvcreate",
		"echo '  Logical Volume \"wnodes_v_1\" already exists in volume group' >&2; exit 5");
	assert_int_equal(volume_make(&pool, "wnodes_v_1", 1 << 30, &err), -EEXIST);
	fake(f, "lvremove", "echo '  Logical volume vg-1/wnodes_v_1 in use.' >&2; exit 5");
	assert_int_equal(volume_remove(&pool, "wnodes_v_1", &err), -EBUSY);
	fake(f, "lvremove",
		"echo '  Failed to find logical volume \"vg-1/wnodes_v_1\"' >&2; exit 5");
	assert_int_equal(volume_remove(&pool, "wnodes_v_1", &err), 0);
}

static void only_what_bears_our_tag_is_listed(void **state)
{
	const struct fixture *f = *state;
	struct strv names AUTO(strv_done) = {0}, images AUTO(strv_done) = {0};
	struct error err;

	fake(f, "lvs",
		"echo '{\"report\":[{\"lv\":["
		"{\"lv_name\":\"root\",\"lv_tags\":\"wnodes.node1\"},"
		"{\"lv_name\":\"wnodes_v_1\",\"lv_tags\":\"a,wnodes.node1\"},"
		"{\"lv_name\":\"wnodes_v_2\",\"lv_tags\":\"wnodes.node11\"},"
		"{\"lv_name\":\"wnodes_v_3\",\"lv_tags\":\"\"}]}]}'");
	assert_int_equal(volume_list(&pool, &names, &images, &err), 0);
	assert_int_equal(names.count, 1);
	assert_string_equal(names.items[0], "wnodes_v_1");
	assert_string_equal(images.items[0], "");
}

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void a_volume_says_which_image_is_on_it(void **state)
{
	static const char text[] =
		"{\"report\":[{\"lv\":["
		"{\"lv_name\":\"wnodes_i_1\",\"lv_tags\":\"wnodes.image." DIGEST ",wnodes.node1\"},"
		"{\"lv_name\":\"wnodes_i_2\",\"lv_tags\":\"wnodes.image.12,wnodes.node1\"},"
		"{\"lv_name\":\"wnodes_i_3\",\"lv_tags\":\"wnodes.image." DIGEST "\"}]}]}";
	struct strv names AUTO(strv_done) = {0}, images AUTO(strv_done) = {0};

	assert_int_equal(volume_parse_list(text, "wnodes.node1", &names, &images), 0);
	assert_int_equal(names.count, 2);
	assert_int_equal(images.count, 2);
	assert_string_equal(images.items[0], DIGEST);
	assert_string_equal(images.items[1], "");
}

/* Who is killed between the two has a volume without the tag, which is made anew. */
static void an_image_is_marked_when_it_is_out_of_use(void **state)
{
	const struct fixture *f = *state;
	struct error err;

	fake(f, "lvchange", "");
	fake(f, "lvcreate", "");
	assert_int_equal(volume_mark(&pool, "wnodes_i_1", DIGEST, &err), 0);
	assert_logged(f, "lvchange --quiet --activate n vg-1/wnodes_i_1\n"
			 "lvchange --quiet --setactivationskip y --addtag wnodes.image." DIGEST
			 " vg-1/wnodes_i_1\n");
	assert_int_equal(volume_snapshot(&pool, "wnodes_r_1", "wnodes_i_1", &err), 0);
	assert_logged(f, "--type thin --setactivationskip n --permission rw --addtag wnodes.node1 "
			 "-n wnodes_r_1 vg-1/wnodes_i_1\n");
	fake(f, "lvchange", "exit 5");
	assert_true(volume_mark(&pool, "wnodes_i_2", DIGEST, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_of_few_letters),
		cmocka_unit_test(a_pool_says_how_full_it_is),
		cmocka_unit_test(the_kernel_says_how_full_a_pool_is),
		cmocka_unit_test_setup_teardown(the_commands_are_lvms, setup, teardown),
		cmocka_unit_test_setup_teardown(what_lvm_complains_of_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(only_what_bears_our_tag_is_listed, setup, teardown),
		cmocka_unit_test(a_volume_says_which_image_is_on_it),
		cmocka_unit_test_setup_teardown(
			an_image_is_marked_when_it_is_out_of_use, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
