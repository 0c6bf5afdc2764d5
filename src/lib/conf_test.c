#include "lib/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "lib/file.h"

struct settings {
	char *image, *accel;
	char **mounts;
	uint64_t cpus, memory, timeout;
	bool verbose;
	char *url;
};

#define ROW(section, key, type, member, ...)                                              \
	{                                                                                 \
		section, key, CONF_##type, offsetof(struct settings, member), __VA_ARGS__ \
	}

static const struct conf_setting table[] = {
	ROW("run", "image", STRING, image, .default_value = "debian",
		.help = "The image to start from."),
	ROW("run", "mount", STRINGS, mounts, .default_value = "/data",
		.help = "A directory that the guest sees."),
	ROW("run", "cpus", NUMBER, cpus, .default_value = "1", .min = 1, .max = 64,
		.help = "Virtual CPUs."),
	ROW("run", "memory", SIZE, memory, .default_value = "1G", .min = 64 << 20,
		.max = 1ull << 40, .help = "Memory of the guest."),
	ROW("run", "timeout", DURATION, timeout, .help = "When to give up."),
	ROW("run", "verbose", BOOL, verbose, .default_value = "no", .help = "Say more."),
	ROW("site", "accel", CHOICE, accel, .default_value = "auto", .choices = "auto|kvm|tcg",
		.help = "How instructions are executed; `auto' tries 'kvm' first. This sentence is "
			"long enough to need a second line in a file of eighty columns."),
	ROW("site", "url", STRING, url, .help = ".dotted\\help"),
	{.key = NULL},
};

static char path[] = "/tmp/wnodes-conf-test-XXXXXX";

static int group_setup(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int group_teardown(void **state)
{
	return unlink(path);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct settings));
	return *state ? conf_init(table, *state, NULL) : -1;
}

static int teardown(void **state)
{
	conf_done(table, *state);
	free(*state);
	return 0;
}

static int load(struct settings *s, const char *content, struct error *err)
{
	assert_int_equal(file_replace(AT_FDCWD, path, content, strlen(content), 0600), 0);
	return conf_load(table, s, path, err);
}

static void load_fails(struct settings *s, const char *content, int line, const char *message)
{
	struct error err = {0};
	char place[64];

	snprintf(place, sizeof(place), "%s:%d: ", path, line);
	assert_int_equal(load(s, content, &err), -EINVAL);
	assert_non_null(str_after(err.text, place));
	assert_string_equal(str_after(err.text, place), message);
}

static void defaults_are_as_the_table_says(void **state)
{
	struct settings *s = *state;

	assert_string_equal(s->image, "debian");
	assert_string_equal(s->mounts[0], "/data");
	assert_null(s->mounts[1]);
	assert_int_equal(s->cpus, 1);
	assert_int_equal(s->memory, 1 << 30);
	assert_int_equal(s->timeout, 0);
	assert_false(s->verbose);
	assert_string_equal(s->accel, "auto");
	assert_null(s->url);
}

static void file_overrides_only_what_it_names(void **state)
{
	struct settings *s = *state;

	assert_int_equal(load(s,
				 "# comment\n; comment\n\n[run]\nimage = el9\ncpus=8\n"
				 "memory : 2G\ntimeout = 1h30m\nverbose = yes\n"
				 "[site]\naccel = tcg ; not kvm\nurl = https://x/?a=b:c",
				 NULL),
		0);
	assert_string_equal(s->image, "el9");
	assert_int_equal(s->cpus, 8);
	assert_true(s->memory == 2ull << 30);
	assert_int_equal(s->timeout, 5400000000);
	assert_true(s->verbose);
	assert_string_equal(s->accel, "tcg");
	assert_string_equal(s->url, "https://x/?a=b:c");
	assert_string_equal(s->mounts[0], "/data");
	assert_int_equal(load(s, "[run]\ncpus = 4\r\n", NULL), 0);
	assert_int_equal(s->cpus, 4);
	assert_string_equal(s->image, "el9");
}

static void list_in_a_file_replaces_what_was_before(void **state)
{
	struct settings *s = *state;

	assert_int_equal(load(s, "[run]\nmount = /a\nmount = /b c\n", NULL), 0);
	assert_string_equal(s->mounts[0], "/a");
	assert_string_equal(s->mounts[1], "/b c");
	assert_null(s->mounts[2]);
	assert_int_equal(load(s, "[run]\nmount = /d\n", NULL), 0);
	assert_string_equal(s->mounts[0], "/d");
	assert_null(s->mounts[1]);
	assert_int_equal(load(s, "[run]\nmount =\n", NULL), 0);
	assert_null(s->mounts[0]);
}

static void indented_lines_are_settings_of_their_own(void **state)
{
	struct settings *s = *state;

	assert_int_equal(load(s, "[run]\n  image = el9\n\tcpus = 2\n  # x\n", NULL), 0);
	assert_string_equal(s->image, "el9");
	assert_int_equal(s->cpus, 2);
}

static void mistakes_are_told_with_file_and_line(void **state)
{
	struct settings *s = *state;
	static const struct {
		const char *content;
		int line;
		const char *message;
	} samples[] = {
		{"[run]\nimge = x\n", 2, "unknown key 'imge' in [run]; did you mean 'image'?"},
		{"[site]\n\nfoobar = x\n", 3, "unknown key 'foobar' in [site]; it has accel, url"},
		{"[ruin]\nimage = x\n", 2, "unknown section [ruin]; did you mean [run]?"},
		{"[other]\nx = y\n", 2, "unknown section [other]; there are [run], [site]"},
		{"image = x\n", 1, "'image' stands before any section; there are [run], [site]"},
		{"[run]\ncpus = 65\n", 2, "cpus: '65' is no whole number from 1 to 64"},
		{"[run]\nmemory = 12Q\n", 2,
			"memory: '12Q' is no size; write for example 512M or 2G"},
		{"[run]\nmemory = 1M\n", 2, "memory: '1M' is below the least value, 64 MiB"},
		{"[run]\nmemory = 2T\n", 2, "memory: '2T' is above the greatest value, 1 TiB"},
		{"[run]\nverbose = maybe\n", 2, "verbose: 'maybe' is neither yes nor no"},
		{"[site]\naccel = kv\n", 2, "accel: 'kv' is not one of auto|kvm|tcg"},
		{"[run]\nimage\n", 2, "neither [section] nor key = value"},
		{"[run\nimage = x\n", 1, "neither [section] nor key = value"},
		{"[run]\ncpus = 4\nimage = x\ncpus = 5\n", 4,
			"cpus is set a second time in this file"},
		/* The first mistake is the one that is told. */
		{"[run]\nrubbish\ncpus = 65\n", 2, "neither [section] nor key = value"},
		{"[run]\ncpus = 65\nrubbish\n", 2, "cpus: '65' is no whole number from 1 to 64"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		load_fails(s, samples[i].content, samples[i].line, samples[i].message);
}

static void line_too_long_is_refused_not_cut(void **state)
{
	char content[400] = "[run]\nimage = ";

	memset(content + strlen(content), 'x', 300);
	load_fails(*state, content, 2, "line above 197 bytes");
	assert_string_equal(((struct settings *)*state)->image, "debian");
}

static void zero_byte_is_refused(void **state)
{
	static const char content[] = "[run]\nimage = a\0b\n";
	struct error err = {0};

	assert_int_equal(file_replace(AT_FDCWD, path, content, sizeof(content) - 1, 0600), 0);
	assert_int_equal(conf_load(table, *state, path, &err), -EINVAL);
	assert_non_null(strstr(err.text, ":2: not text"));
}

static void missing_file_changes_nothing(void **state)
{
	struct settings *s = *state;
	struct error err = {0};

	assert_int_equal(conf_load(table, s, "/no/such/file", &err), -ENOENT);
	assert_string_equal(s->image, "debian");
	assert_int_equal(conf_load(table, s, "/tmp", &err), -EIO);
}

static void bad_default_is_told(void **state)
{
	static const struct conf_setting bad[] = {
		ROW("run", "image", STRING, image, .default_value = "debian", .help = ""),
		ROW("run", "cpus", NUMBER, cpus, .default_value = "none", .max = 4, .help = ""),
		{.key = NULL},
	};
	struct settings s = {0};
	struct error err = {0};

	assert_int_equal(conf_init(bad, &s, &err), -EINVAL);
	assert_non_null(str_after(err.text, "default of [run] cpus: "));
	assert_null(s.image);
}

static void single_key_is_set_as_by_a_line(void **state)
{
	struct settings *s = *state;

	assert_int_equal(conf_set(&table[1], s, "/more", NULL), 0);
	assert_string_equal(s->mounts[1], "/more");
	assert_int_equal(conf_set(&table[2], s, "0", NULL), -EINVAL);
	assert_int_equal(s->cpus, 1);
}

static void printed(void (*print)(const struct conf_setting *, FILE *), char **ret)
{
	size_t length = 0;
	FILE *out = open_memstream(ret, &length);

	assert_non_null(out);
	print(table, out);
	fclose(out);
}

/* With its settings uncommented, the example must give the defaults again. */
static void example_file_is_valid_and_has_the_defaults(void **state)
{
	autofree char *text = NULL;
	struct settings *s = *state;
	struct error err = {0};

	printed(conf_print_example, &text);
	for (char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		assert_true(strcspn(line, "\n") < 80);
		if (line[0] == '#' && line[1] != ' ')
			line[0] = ' ';
	}
	/* A key without a default cannot stand there uncommented. */
	*strstr(text, " timeout =") = '#';
	assert_int_equal(load(s, text, &err), 0);
	assert_string_equal(s->image, "debian");
	assert_string_equal(s->mounts[0], "/data");
	assert_string_equal(s->accel, "auto");
	assert_string_equal(s->url, "");
}

static void manual_names_every_key(void **state)
{
	autofree char *text = NULL;

	printed(conf_print_man, &text);
	assert_non_null(strstr(text, ".SS [run]\n"));
	assert_non_null(strstr(text, ".SS [site]\n"));
	assert_non_null(strstr(text, "\\fBcpus\\fR = \\fINUMBER\\fR (default: 1)\n"));
	assert_non_null(strstr(text, "Virtual CPUs. From 1 to 64.\n"));
	assert_non_null(strstr(text, "\\fBaccel\\fR = \\fIauto|kvm|tcg\\fR (default: auto)\n"));
	assert_non_null(strstr(text, "\n\\&.dotted\\(rshelp\n"));
}

#define CONF_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONF_TEST(defaults_are_as_the_table_says),
		CONF_TEST(file_overrides_only_what_it_names),
		CONF_TEST(list_in_a_file_replaces_what_was_before),
		CONF_TEST(indented_lines_are_settings_of_their_own),
		CONF_TEST(mistakes_are_told_with_file_and_line),
		CONF_TEST(line_too_long_is_refused_not_cut),
		CONF_TEST(zero_byte_is_refused),
		CONF_TEST(missing_file_changes_nothing),
		CONF_TEST(bad_default_is_told),
		CONF_TEST(single_key_is_set_as_by_a_line),
		CONF_TEST(example_file_is_valid_and_has_the_defaults),
		CONF_TEST(manual_names_every_key),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
