#include "lib/nearest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *nearest_of(const char *word)
{
	static const char *const known[] = {"image", "memory", "mount", "cpus", "tty", "timeout"};
	struct nearest n = {.word = word};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		nearest_offer(&n, known[i]);
	return nearest_get(&n);
}

static void typing_errors_find_their_word(void **state)
{
	assert_string_equal(nearest_of("imge"), "image");
	assert_string_equal(nearest_of("iamge"), "image");
	assert_string_equal(nearest_of("immage"), "image");
	assert_string_equal(nearest_of("imaga"), "image");
	assert_string_equal(nearest_of("mem"), "memory");
	assert_string_equal(nearest_of("cpu"), "cpus");
	assert_string_equal(nearest_of("tymeuot"), "timeout");
}

static void unlike_words_find_nothing(void **state)
{
	char long_word[1000];

	memset(long_word, 'i', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	assert_null(nearest_of("xyzzy"));
	assert_null(nearest_of(""));
	assert_null(nearest_of("x"));
	assert_null(nearest_of("verbosity"));
	assert_null(nearest_of(long_word));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(typing_errors_find_their_word),
		cmocka_unit_test(unlike_words_find_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
