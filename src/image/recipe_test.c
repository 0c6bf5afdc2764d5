#include "image/recipe.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/file.h"
#include "lib/path.h"

static char directory[64];

static int group_setup(void **state)
{
	snprintf(directory, sizeof(directory), "/tmp/wnodes-recipe.XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int group_teardown(void **state)
{
	return file_remove_tree(AT_FDCWD, directory);
}

static void write_beside(const char *name, const void *data, size_t length)
{
	autofree char *path = path_format("%s/%s", directory, name);

	assert_int_equal(file_replace(AT_FDCWD, path, data, length, 0600), 0);
}

static struct recipe *parse(const char *text)
{
	struct recipe *r = NULL;
	struct error err = {0};

	if (recipe_parse(text, strlen(text), "r", directory, &r, &err) < 0)
		fail_msg("%s", err.text);
	return r;
}

static const struct recipe_file *file_of(const struct recipe *r)
{
	assert_int_equal(r->lists[RECIPE_FILES].count, 1);
	return r->lists[RECIPE_FILES].items[0].settings;
}

static void what_is_not_said_is_as_by_default(void **state)
{
	struct recipe *r AUTO(recipe_freep) = parse("");

	assert_string_equal(r->image.suite, "bookworm");
	assert_string_equal(r->image.init, "wnodes");
	assert_int_equal(r->image.size, UINT64_C(10) << 30);
	assert_null(r->image.packages[0]);
	assert_string_equal(r->text, "");
	assert_false(recipe_has(r, "suite"));
}

static void sections_and_lists(void **state)
{
	struct recipe *r AUTO(recipe_freep) = parse("# comment\n"
						    "[image]\r\n"
						    "  suite = trixie\n"
						    "packages = bc, gcc\n"
						    "packages = munge\n"
						    "init=systemd\n"
						    "[services]\n"
						    "enable = munge ssh.socket\n"
						    "[check a.b]\n"
						    "command = test -e /x # no comment\n"
						    "status = 3\n"
						    "timeout = 5s\n"
						    "[edit /etc/x]\n"
						    "append = a = b\n"
						    "replace = |/|x|g\n");
	const struct recipe_check *c = r->lists[RECIPE_CHECKS].items[0].settings;
	const struct recipe_edit *e = r->lists[RECIPE_EDITS].items[0].settings;

	assert_string_equal(r->image.suite, "trixie");
	assert_true(recipe_has(r, "suite"));
	assert_false(recipe_has(r, "size"));
	assert_string_equal(r->image.packages[2], "munge");
	assert_null(r->image.packages[3]);
	assert_string_equal(r->image.enable[1], "ssh.socket");
	assert_string_equal(r->lists[RECIPE_CHECKS].items[0].name, "a.b");
	assert_string_equal(c->command, "test -e /x # no comment");
	assert_int_equal(c->status, 3);
	assert_int_equal(c->timeout, 5000000);
	assert_string_equal(r->lists[RECIPE_EDITS].items[0].name, "/etc/x");
	assert_string_equal(e->append[0], "a = b");
	assert_string_equal(e->replace[0], "|/|x|g");
}

static void a_block_comes_through_as_it_stands(void **state)
{
	struct recipe *r AUTO(recipe_freep) = parse("[file /a b]\n"
						    "content =\n"
						    "  | # a\n"
						    "\t|   b  \n"
						    "|\n"
						    "# a comment of the recipe\n"
						    "|[c]\n"
						    "mode = 0600\n");

	assert_string_equal(file_of(r)->content, "# a\n  b  \n\n[c]\n");
	assert_string_equal(file_of(r)->mode, "0600");
	assert_string_equal(file_of(r)->owner, "root:root");
}

static void what_is_kept_needs_no_files(void **state)
{
	struct recipe *kept AUTO(recipe_freep) = NULL;
	struct recipe *r AUTO(recipe_freep) = NULL;
	struct error err = {0};

	write_beside("motd", "Hello\n\n  you\n", 13);
	write_beside("run.sh", "echo hi", 7);
	r = parse(
		"[image]\n# why\nscript = run.sh\npackages = bc\n[file /etc/motd]\nsource = motd\n"
		"mode = 0640\n");
	assert_string_equal(r->image.run, "echo hi\n");
	assert_null(r->image.script);
	assert_string_equal(file_of(r)->content, "Hello\n\n  you\n");
	assert_string_equal(r->text,
		"[image]\n# why\nrun =\n| echo hi\npackages = bc\n[file /etc/motd]\n"
		"content =\n| Hello\n| \n|   you\nmode = 0640\n");
	assert_int_equal(recipe_parse(r->text, r->length, "kept", NULL, &kept, &err), 0);
	assert_string_equal(kept->text, r->text);
	assert_string_equal(file_of(kept)->content, file_of(r)->content);
	assert_string_equal(kept->image.run, r->image.run);
}

static void what_is_no_text_is_kept_in_base64(void **state)
{
	struct recipe *kept AUTO(recipe_freep) = NULL;
	struct recipe *r AUTO(recipe_freep) = NULL;
	char bytes[100];

	memset(bytes, 0xff, sizeof(bytes));
	write_beside("blob", bytes, sizeof(bytes));
	r = parse("[file /x]\nsource = blob\n");
	assert_null(file_of(r)->content);
	assert_string_equal(file_of(r)->base64,
		"////////////////////////////////////////////////////////////////////////\n"
		"/////////////////////////////////////////////////////////////w==\n");
	assert_int_equal(recipe_parse(r->text, r->length, "kept", NULL, &kept, NULL), 0);
	assert_string_equal(file_of(kept)->base64, file_of(r)->base64);
	/* Without a line feed at the end it is no block of lines, either. */
	write_beside("line", "abc", 3);
	recipe_free(r);
	r = parse("[file /x]\nsource = line\n");
	assert_string_equal(file_of(r)->base64, "YWJj\n");
}

static void an_empty_file_stays_empty(void **state)
{
	struct recipe *kept AUTO(recipe_freep) = NULL;
	struct recipe *r AUTO(recipe_freep) = NULL;

	write_beside("empty", "", 0);
	r = parse("[file /x]\nsource = empty\n");
	assert_string_equal(file_of(r)->content, "");
	assert_int_equal(recipe_parse(r->text, r->length, "kept", NULL, &kept, NULL), 0);
	assert_string_equal(file_of(kept)->content, "");
}

static void mistakes_are_told_with_their_line(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{"x = 1\n", "r:1: 'x' stands before any section"},
		{"[image]\nsuit = x\n",
			"r:2: unknown key 'suit' in [image]; did you mean 'suite'?"},
		{"[image]\nenable = x\n", "r:2: unknown key 'enable' in [image]"},
		{"[imag]\n", "r:1: unknown section [imag]"},
		{"[image\n", "r:1: a header of a section ends with ']'"},
		{"[image x]\n", "r:1: [image] has no name"},
		{"[file]\n", "r:1: write [file /PATH]"},
		{"[file /a]\ncontent = x\n[file /a]\ncontent = y\n",
			"r:3: [file /a] stands in line 1 already"},
		{"[image]\nsuite = a\nsuite = b\n", "r:3: suite is set a second time"},
		{"[image]\nsize = 3\n", "r:2: size: "},
		{"[image]\ninit = upstart\n", "r:2: init: "},
		{"[image]\n| x\n", "r:2: a line that begins with '|' must follow KEY ="},
		{"[image]\nsuite =\n| x\n", "r:2: suite has one line"},
		{"\n[image]\nnonsense\n", "r:3: neither [section] nor key = value"},
		{"[image]\nsuite = \x01\n", "r:2: not text"},
		{"[image]\nsuite = \xff\n", "r:2: not text"},
		{"[image]\nscript = none-such\n", "r:2: cannot read '"},
		{"[image]\nrun = x\nscript = run.sh\n", "r:3: script and run are both set"},
		{"[file etc/x]\ncontent = x\n",
			"r:1: [file etc/x]: a file of the image is named by"},
		{"[file /etc/../x]\ncontent = x\n", "r:1: [file /etc/../x]: a file of the image"},
		{"[file /x]\nmode = 0644\n", "r:1: [file /x]: give one of content, source"},
		{"[file /x]\ncontent = x\nmode = rw\n",
			"r:1: [file /x]: the mode is no octal number"},
		{"[file /x]\ncontent = x\nowner = a:\n", "r:1: [file /x]: the owner is not"},
		{"[file /x]\nbase64 = !\n", "r:1: [file /x]: base64 has other characters"},
		{"[edit /x]\n", "r:1: [edit /x]: it has neither append nor replace"},
		{"[edit /x]\nreplace = /a/b\n", "r:1: [edit /x]: replace is not"},
		{"[edit /x]\nreplace = /a/b/w /etc/passwd\n", "r:1: [edit /x]: replace is not"},
		{"[edit /x]\nreplace = //b/\n", "r:1: [edit /x]: replace is not"},
		{"[check x]\nstatus = 1\n", "r:1: [check x]: it has no command"},
		{"[check x]\ncommand = a\nstatus = 256\n", "r:3: status: "},
		{"[check x y]\ncommand = a\n", "r:1: [check x y]: the name may have"},
		{"[image]\npackages = -o\n", "r: '-o' is not the name of a package"},
		{"[image]\nmodules = a/b\n", "r: 'a/b' is not the name of a kernel module"},
		{"[image]\nsyslog = log\n", "r: syslog: 'log' is not tcp://HOST"},
		{"[image]\nsyslog = udp://h:99999\n", "r: syslog: "},
		{"[services]\nenable = a;b\n", "r: 'a;b' is not the name of a service"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct recipe *r = NULL;
		struct error err = {0};

		assert_int_equal(recipe_parse(cases[i].text, strlen(cases[i].text), "r", directory,
					 &r, &err),
			-EINVAL);
		if (!str_after(err.text, cases[i].said))
			fail_msg("case %zu: %s instead of %s", i, err.text, cases[i].said);
		assert_null(r);
	}
}

static void a_kept_recipe_names_no_files_of_the_host(void **state)
{
	static const char text[] = "[file /x]\nsource = /etc/shadow\n";
	struct recipe *r = NULL;
	struct error err = {0};

	assert_int_equal(recipe_parse(text, strlen(text), "kept", NULL, &r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "names no files of the host"));
}

static void what_is_too_large_is_refused(void **state)
{
	autofree char *big = calloc(1, RECIPE_BYTES_MAX + 2);
	struct recipe *r = NULL;
	struct error err = {0};

	memset(big, '\n', RECIPE_BYTES_MAX + 1);
	assert_int_equal(
		recipe_parse(big, RECIPE_BYTES_MAX + 1, "r", directory, &r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "96 KiB"));
	/* As a block, each line feed takes three bytes. */
	write_beside("big", big, RECIPE_BYTES_MAX / 2);
	assert_int_equal(
		recipe_parse("[file /x]\nsource = big\n", 23, "r", directory, &r, &err), -EINVAL);
	assert_non_null(strstr(err.text, "make a package"));
}

static void targets_of_syslog(void **state)
{
	autofree char *host = NULL;
	uint64_t port;
	bool tcp;

	assert_int_equal(recipe_parse_syslog("udp://log.example.org", &tcp, &host, &port, NULL), 0);
	assert_string_equal(host, "log.example.org");
	assert_int_equal(port, 514);
	assert_false(tcp);
	free(TAKE_PTR(host));
	assert_int_equal(recipe_parse_syslog("tcp://10.0.2.2:1514", &tcp, &host, &port, NULL), 0);
	assert_string_equal(host, "10.0.2.2");
	assert_int_equal(port, 1514);
	assert_true(tcp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_said_is_as_by_default),
		cmocka_unit_test(sections_and_lists),
		cmocka_unit_test(a_block_comes_through_as_it_stands),
		cmocka_unit_test(what_is_kept_needs_no_files),
		cmocka_unit_test(what_is_no_text_is_kept_in_base64),
		cmocka_unit_test(an_empty_file_stays_empty),
		cmocka_unit_test(mistakes_are_told_with_their_line),
		cmocka_unit_test(a_kept_recipe_names_no_files_of_the_host),
		cmocka_unit_test(what_is_too_large_is_refused),
		cmocka_unit_test(targets_of_syslog),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
