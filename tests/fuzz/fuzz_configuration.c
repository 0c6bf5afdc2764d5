/* The texts of a central configuration, for the site, a host group and a node, with a zero byte
 * between them: those that are taken can be joined, and a node can read what becomes of them. */
#include <assert.h>
#include <errno.h>

#include "controller/configuration_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is joined is whole: joined with nothing, it stays as it is. */
static void check_joined(const char *text)
{
	const char *alone[CONFIGURATION_SCOPES] = {text};
	autofree char *again = NULL;
	struct error err = {0};

	assert(configuration_check(text, true, &err) == 0);
	assert(configuration_merge(alone, &again, &err) == 0);
	assert(strcmp(text, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *texts[CONFIGURATION_SCOPES] = {NULL};
	autofree char *joined = NULL;
	autofree char *all = malloc(size + 1);
	struct error err = {0};
	size_t at = 0;

	assert(all);
	memcpy(all, data, size);
	all[size] = '\0';
	for (size_t i = 0; i < CONFIGURATION_SCOPES && at <= size; i++) {
		const char *text = all + at;
		int r = configuration_check(text, true, &err);

		assert(r == 0 || (r == -EINVAL && err.text[0]));
		assert(r == 0 || configuration_check(text, false, &err) == -EINVAL);
		if (r == 0)
			texts[i] = text;
		at += strlen(text) + 1;
	}
	assert(configuration_merge(texts, &joined, &err) == 0);
	check_joined(joined);
	return 0;
}
