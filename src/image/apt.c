#include "image/apt.h"

#include <errno.h>
#include <stdio.h>

#include "lib/child.h"
#include "lib/path.h"

#define APT_MIRROR          "http://deb.debian.org/debian"
#define APT_MIRROR_SECURITY "http://deb.debian.org/debian-security"
#define APT_OUTPUT_MAX      (1024 * 1024)
#define APT_TIMEOUT_MS      30000
#define APT_WORD_MAX        128

/* Suites that have -updates and -security beside them; all others (sid, testing, ...) have not. */
static const char *const releases[] = {
	"bullseye", "bookworm", "trixie", "stable", "oldstable", "oldoldstable"};

static bool is_release(const char *suite)
{
	for (size_t i = 0; i < ARRAY_SIZE(releases); i++)
		if (streq(suite, releases[i]))
			return true;
	return false;
}

static bool is_word(const char *text, const char *extra)
{
	size_t n = 0;

	while ((text[n] >= 'a' && text[n] <= 'z') || (text[n] >= 'A' && text[n] <= 'Z') ||
		(text[n] >= '0' && text[n] <= '9') || (text[n] && strchr(extra, text[n])))
		n++;
	return n > 0 && n <= APT_WORD_MAX && text[n] == '\0';
}

bool apt_package_is_valid(const char *text)
{
	return is_word(text, "+-.:=~/") && text[0] != '-' && text[0] != '+' && text[0] != '.' &&
	       text[0] != '/';
}

/* Runs a program of apt's for its output; on a host without apt there is none. */
static char *apt_output(const char *const *argv)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error ignored;
	char *output = NULL;

	spec.argv = argv;
	if (child_output(&spec, APT_TIMEOUT_MS, APT_OUTPUT_MAX, &output, &ignored) < 0)
		return NULL;
	return output;
}

/* Takes one field off a line; the last one ends at the line's end. */
static bool take_field(const char **p, const char *is)
{
	size_t n = strcspn(*p, "|\n");
	bool same = strlen(is) == n && strncmp(*p, is, n) == 0;

	*p += n + ((*p)[n] == '|');
	return same;
}

char *apt_find_repository(const char *targets, const char *release)
{
	for (const char *line = targets; *line;) {
		const char *p = line;
		bool ours = take_field(&p, "Debian");

		ours &= take_field(&p, release);
		ours &= take_field(&p, "main");
		if (ours && (str_after(p, "http://") || str_after(p, "https://")))
			return strndup(p, strcspn(p, "\n"));
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return NULL;
}

static char *host_targets(void)
{
	static const char *const argv[] = {"apt-get", "indextargets", "--format",
		"$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages", NULL};

	return apt_output(argv);
}

static void add_line(
	struct strv *lines, const char *targets, const char *fallback, const char *suite)
{
	autofree char *host = targets ? apt_find_repository(targets, suite) : NULL;

	strv_add_format(lines, "deb %s %s main", host ? host : fallback, suite);
}

static void add_default_lines(struct strv *lines, const char *suite, const char *mirror)
{
	autofree char *targets = mirror ? NULL : host_targets();
	autofree char *updates = path_format("%s-updates", suite);
	autofree char *security = path_format("%s-security", suite);

	if (!updates || !security) {
		lines->failed = true;
		return;
	}
	if (!mirror)
		mirror = APT_MIRROR;
	add_line(lines, targets, mirror, suite);
	if (!is_release(suite))
		return;
	add_line(lines, targets, mirror, updates);
	add_line(lines, targets, APT_MIRROR_SECURITY, security);
}

static bool is_url(const char *text)
{
	return (str_after(text, "http://") || str_after(text, "https://") ||
		       str_after(text, "file:/")) &&
	       !strpbrk(text, " \t\n");
}

int apt_sources(
	const char *suite, const char *const *mirrors, struct strv *ret_lines, struct error *err)
{
	size_t given = ret_lines->count;

	if (!is_word(suite, "-."))
		return fail(err, -EINVAL, "'%.64s' is not the name of a Debian suite", suite);
	for (size_t i = 0; mirrors && mirrors[i]; i++) {
		if (str_after(mirrors[i], "deb ") && !strchr(mirrors[i], '\n'))
			strv_add(ret_lines, mirrors[i]);
		else if (is_url(mirrors[i]))
			add_default_lines(ret_lines, suite, mirrors[i]);
		else
			return fail(err, -EINVAL,
				"mirror '%.200s' is neither a URL nor a line that begins with 'deb '",
				mirrors[i]);
	}
	if (ret_lines->count == given)
		add_default_lines(ret_lines, suite, NULL);
	return ret_lines->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

static void set_proxy(struct strv *env, const char *variable, const char *option)
{
	const char *const argv[] = {"apt-config", "dump", "--format", "%v%n", option, NULL};
	autofree char *value = strv_env_get(env, variable) ? NULL : apt_output(argv);

	if (!value)
		return;
	value[strcspn(value, "\n")] = '\0';
	if (value[0] != '\0' && !streq(value, "DIRECT"))
		strv_env_set(env, variable, value);
}

void apt_proxy(struct strv *env)
{
	set_proxy(env, "http_proxy", "Acquire::http::Proxy");
	set_proxy(env, "https_proxy", "Acquire::https::Proxy");
}
