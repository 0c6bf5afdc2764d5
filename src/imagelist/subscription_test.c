#include "imagelist/subscription.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/file.h"

static char directory[64];

static int setup(void **state)
{
	snprintf(directory, sizeof(directory), "/tmp/wnodes-subscription.XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	return file_remove_tree(AT_FDCWD, directory);
}

static struct subscription *make(const char *name)
{
	struct subscription *s = calloc(1, sizeof(*s));

	s->name = strdup(name);
	s->source = strdup("https://token:secret@example.org/list");
	s->ca = strdup("/etc/grid-security/certificates");
	s->tag = strdup("latest");
	assert_int_equal(subscription_add_endorser(s, "/CN=Alice", "/CN=CA"), 0);
	assert_int_equal(subscription_add_endorser(s, "/CN=Bob", "/CN=CA"), 0);
	assert_int_equal(subscription_add_choice(s, "some-image", NULL), 0);
	return s;
}

static void save(const struct subscription *s)
{
	int fd = subscription_lock(directory, s->name, true, NULL, NULL);

	assert_true(fd >= 0);
	assert_int_equal(subscription_save(directory, s, NULL), 0);
	close(fd);
}

static void what_is_saved_is_loaded(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make("egi");
	struct subscription *again AUTO(subscription_freep) = NULL;
	struct subscription_image *image = subscription_add_image(s);
	char sha512[129];

	snprintf(sha512, sizeof(sha512), "%0128d", 1);
	image->identifier = strdup("some-image");
	image->reference = strdup("egi-some:latest");
	image->title = strdup("Some image");
	image->version = strdup("1.0");
	image->sha512 = strdup(sha512);
	image->digest = strdup("abc");
	image->since_us = UINT64_C(1793527200000000);
	s->version = strdup("20261101");
	save(s);
	assert_int_equal(subscription_load(directory, "egi", &again, NULL), 0);
	assert_string_equal(again->source, s->source);
	assert_null(again->no_crl);
	assert_null(again->identifier);
	assert_string_equal(again->version, "20261101");
	assert_true(subscription_has_endorser(again, "/CN=Bob", "/CN=CA"));
	assert_false(subscription_has_endorser(again, "/CN=Bob", "/CN=Other"));
	assert_int_equal(again->choice_count, 1);
	assert_null(again->choices[0].reference);
	image = subscription_find_image(again, "some-image");
	assert_non_null(image);
	assert_string_equal(image->reference, "egi-some:latest");
	assert_int_equal(image->since_us, UINT64_C(1793527200000000));
	assert_null(image->gone);
}

static void they_are_listed_and_removed(void **state)
{
	struct subscription *a AUTO(subscription_freep) = make("b"),
			       *b AUTO(subscription_freep) = make("a");
	struct subscription *found AUTO(subscription_freep) = NULL;
	struct strv names AUTO(strv_done) = {0}, left AUTO(strv_done) = {0};
	struct error err = {0};
	int fd;

	save(a);
	save(b);
	assert_int_equal(subscription_names(directory, &names, NULL), 0);
	assert_int_equal(names.count, 2);
	assert_string_equal(names.items[0], "a");
	fd = subscription_lock(directory, "a", false, NULL, NULL);
	assert_int_equal(subscription_remove(directory, "a", NULL), 0);
	close(fd);
	assert_int_equal(subscription_names(directory, &left, NULL), 0);
	assert_int_equal(left.count, 1);
	assert_int_equal(subscription_load(directory, "a", &found, &err), -ENOENT);
	assert_non_null(strstr(err.text, "there are: b"));
	assert_int_equal(subscription_lock(directory, "a", false, NULL, NULL), -ENOENT);
	assert_int_equal(subscription_names("/no/such/place", &left, NULL), 0);
}

/* Who waited for the lock of one that was removed meanwhile does not get it. */
static void a_lock_of_what_is_gone_is_none(void **state)
{
	struct subscription *s AUTO(subscription_freep) = make("x");
	int fd, status, pipes[2];
	pid_t pid;
	char c;

	save(s);
	fd = subscription_lock(directory, "x", false, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		close(fd);
		assert_int_equal(write(pipes[1], "x", 1), 1);
		_exit(subscription_lock(directory, "x", false, NULL, NULL) == -ENOENT ? 0 : 1);
	}
	assert_int_equal(read(pipes[0], &c, 1), 1);
	usleep(100000);
	assert_int_equal(subscription_remove(directory, "x", NULL), 0);
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(pipes[0]);
	close(pipes[1]);
}

static void names_stay_in_their_directory(void **state)
{
	static const char *const wrong[] = {
		"", ".", "..", "a/b", "../x", "A", "-x", "a23456789012345678901234567890123"};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(subscription_check_name(wrong[i], NULL), -EINVAL);
		assert_int_equal(subscription_lock(directory, wrong[i], true, NULL, NULL), -EINVAL);
	}
}

static void passwords_are_not_shown(void **state)
{
	static const char *const sources[][2] = {
		{"https://token:x-oauth-basic@example.org/a@b", "https://example.org/a@b"},
		{"https://example.org/a@b", "https://example.org/a@b"},
		{"/srv/list@home", "/srv/list@home"},
		{"http://a@b@c/", "http://c/"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		autofree char *text = subscription_public_source(sources[i][0]);

		assert_string_equal(text, sources[i][1]);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_saved_is_loaded, setup, teardown),
		cmocka_unit_test_setup_teardown(they_are_listed_and_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lock_of_what_is_gone_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(names_stay_in_their_directory, setup, teardown),
		cmocka_unit_test(passwords_are_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
