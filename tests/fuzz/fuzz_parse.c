/* Values that people write, and texts that end up in command lines and manuals. The first byte
 * chooses what the rest is. */
#include <assert.h>
#include <stdio.h>

#include "engine/request.h"
#include "image/apt.h"
#include "image/store.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/roff.h"
#include "vm/quote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_size(const char *text)
{
	uint64_t value;
	char out[FORMAT_MAX];

	if (parse_size(text, &value, NULL) == 0)
		assert(strlen(format_size(value, out)) < FORMAT_MAX);
}

static void check_duration(const char *text)
{
	uint64_t value;
	char out[FORMAT_MAX];

	if (parse_duration(text, &value, NULL) == 0)
		assert(strlen(format_duration(value, out)) < FORMAT_MAX);
}

static void check_number(const char *text)
{
	uint64_t value;
	bool on;

	if (parse_number(text, 3, 1000, &value, NULL) == 0)
		assert(value >= 3 && value <= 1000);
	parse_bool(text, &on, NULL);
}

static void check_reference(const char *text)
{
	autofree char *name = NULL, *tag = NULL;

	if (store_parse_reference(text, &name, &tag, NULL) == 0)
		assert(name[0] != '.' && !strchr(name, '/') && tag[0] != '.' && !strchr(tag, '/'));
	apt_package_is_valid(text);
}

static void check_path(const char *text)
{
	autofree char *once = path_absolute(text), *twice = once ? path_absolute(once) : NULL;

	assert(once && once[0] == '/' && streq(once, twice));
	assert(!strstr(once, "//") && !strstr(once, "/../") && !strstr(once, "/./"));
	assert(path_is_below(once, "/"));
}

/* QEMU's own reading of a value: a doubled comma is one, a single one ends it. */
static void check_quote(const char *text)
{
	autofree char *quoted = quote_option(text);
	const char *p = quoted;

	for (; *text; text++, p++) {
		assert(*p == *text);
		if (*p == ',')
			assert(*++p == ',');
	}
	assert(*p == '\0');
}

static void check_env(const char *text)
{
	struct request request = {.caller = NULL};

	if (request_add_env(&request, text, NULL) == 0)
		for (size_t i = 0; i < request.env.count; i++)
			assert(strchr(request.env.items[i], '=') > request.env.items[i]);
	request_done(&request);
}

static void check_share(const char *text)
{
	struct share_list list = {.count = 0};

	if (share_add(&list, text, NULL) == 0)
		assert(list.items[0].source[0] == '/' && list.items[0].target[0] == '/' &&
			!streq(list.items[0].target, "/"));
	share_list_done(&list);
}

/* No line of a manual may begin as a command of roff's that is not ours. */
static void check_roff(const char *text)
{
	autofree char *out = NULL;
	size_t length = 0;
	FILE *file = open_memstream(&out, &length);

	assert(file);
	roff_print_text(file, text);
	fclose(file);
	for (const char *line = out; line && *line;) {
		if (line[0] == '.')
			assert(str_after(line, ".PP"));
		assert(line[0] != '\'');
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
}

static void (*const checks[])(const char *text) = {check_size, check_duration, check_number,
	check_reference, check_path, check_quote, check_env, check_share, check_roff};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autofree char *text = NULL;

	if (size == 0)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	assert(text);
	checks[data[0] % ARRAY_SIZE(checks)](text);
	return 0;
}
