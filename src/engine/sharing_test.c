#include "engine/sharing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/file.h"

static const char site[] = "[share home]\npath = /home\n"
			   "[share physics]\npath = /data/physics\nusers = @physics, eve-*\n"
			   "[share software]\npath = /cvmfs\naccess = ro\n"
			   "[share secret]\npath = /home/secret\naccess = none\n";

static const char *const physicist[] = {"users", "physics", NULL};
static const char *const chemist[] = {"users", "chemistry", NULL};

static int load(struct sharing *s, const char *pushed, const char *text, struct error *err)
{
	char paths[2][64] = {"/tmp/wnodes-sharing-a.XXXXXX", "/tmp/wnodes-sharing-b.XXXXXX"};
	const char *texts[] = {pushed, text};
	int r;

	for (int i = 0; i < 2; i++) {
		int fd = mkstemp(paths[i]);

		assert_true(fd >= 0);
		assert_int_equal(file_write_all(fd, texts[i], strlen(texts[i])), 0);
		close(fd);
	}
	r = sharing_load(s, paths[0], paths[1], err);
	unlink(paths[0]);
	unlink(paths[1]);
	return r;
}

static int decide(
	const struct sharing *s, const char *user, const char *const *groups, const char *path)
{
	const struct sharing_subject subject = {1000, user, groups};
	struct error err = {0};
	int r = sharing_decide(s, &subject, path, &err);

	assert_int_equal(r < 0, err.text[0] != '\0');
	return r;
}

static void without_a_rule_all_is_shared(void **state)
{
	struct sharing s AUTO(sharing_done) = {0};

	assert_int_equal(load(&s, "", "[run]\nimage = a\n", NULL), 0);
	assert_int_equal(decide(&s, "alice", chemist, "/anything"), 0);
}

static void with_rules_only_what_they_cover(void **state)
{
	struct sharing s AUTO(sharing_done) = {0};

	assert_int_equal(load(&s, "", site, NULL), 0);
	assert_int_equal(decide(&s, "alice", chemist, "/home"), 0);
	assert_int_equal(decide(&s, "alice", chemist, "/home/alice/x"), 0);
	assert_int_equal(decide(&s, "alice", chemist, "/homes"), -EACCES);
	assert_int_equal(decide(&s, "alice", chemist, "/"), -EACCES);
	assert_int_equal(decide(&s, "alice", chemist, "/cvmfs/atlas/deep"), 1);
}

static void the_longest_path_decides(void **state)
{
	struct sharing s AUTO(sharing_done) = {0};

	assert_int_equal(load(&s, "", site, NULL), 0);
	assert_int_equal(decide(&s, "alice", chemist, "/home/secret"), -EACCES);
	assert_int_equal(decide(&s, "alice", chemist, "/home/secret/x"), -EACCES);
	assert_int_equal(decide(&s, "alice", chemist, "/home/secrets"), 0);
}

static void users_and_groups(void **state)
{
	struct sharing s AUTO(sharing_done) = {0};

	assert_int_equal(load(&s, "", site, NULL), 0);
	assert_int_equal(decide(&s, "alice", physicist, "/data/physics/x"), 0);
	assert_int_equal(decide(&s, "bob", chemist, "/data/physics/x"), -EACCES);
	assert_int_equal(decide(&s, "eve-2", chemist, "/data/physics/x"), 0);
	assert_int_equal(decide(&s, NULL, NULL, "/data/physics/x"), -EACCES);
}

static void root_is_not_asked(void **state)
{
	struct sharing s AUTO(sharing_done) = {0};
	const struct sharing_subject root = {0, "root", NULL};

	assert_int_equal(load(&s, "", site, NULL), 0);
	assert_int_equal(sharing_decide(&s, &root, "/etc", NULL), 0);
}

static void the_nodes_own_file_wins(void **state)
{
	struct sharing s AUTO(sharing_done) = {0};

	assert_int_equal(
		load(&s, site, "[share secret]\npath = /home/secret\naccess = ro\n", NULL), 0);
	assert_int_equal(decide(&s, "alice", chemist, "/home/secret"), 1);
	assert_int_equal(decide(&s, "alice", chemist, "/cvmfs"), 1);
}

static void what_makes_no_sense_is_refused(void **state)
{
	static const char *const texts[] = {"[share a]\naccess = ro\n", "[share a]\npath = data\n",
		"[share a]\npath = /data/\n", "[share a]\npath = /data/../etc\n",
		"[share a]\npath = /data\naccess = rx\n",
		"[share a]\npath = /a\n[share a]\npath = /b\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct sharing s AUTO(sharing_done) = {0};
		struct error err = {0};

		assert_int_equal(load(&s, "", texts[i], &err), -EINVAL);
		assert_true(err.text[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_rule_all_is_shared),
		cmocka_unit_test(with_rules_only_what_they_cover),
		cmocka_unit_test(the_longest_path_decides),
		cmocka_unit_test(users_and_groups),
		cmocka_unit_test(root_is_not_asked),
		cmocka_unit_test(the_nodes_own_file_wins),
		cmocka_unit_test(what_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
