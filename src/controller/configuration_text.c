#include "controller/configuration_text.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/mman.h>

#include "engine/network.h"
#include "engine/policy.h"
#include "engine/sharing.h"
#include "lib/strv.h"

#define KEY_MAX 512

/* What gives rights on a node: programs, accounts, what VMs are lent by, and whom a node listens
 * to. A NULL key: all of the section. */
static const struct {
	const char *section, *key;
} of_site[] = {
	{"vm", "qemu"},
	{"vm", "broker"},
	{"node", "user"},
	{"node", "administrators"},
	{"node", "vlans"},
	{"site", NULL},
};

/* One line of a text. */
struct line {
	const char *section; /* "run", "policy batch" */
	const char *key;     /* NULL: the header of a section, or nothing of interest */
	const char *text;
};

/* Of a section with a name: how long its kind is. 0: it is another. */
static size_t kind_length(const char *section)
{
	const char *const kinds[] = {policy_section.kind, network_section.kind, share_section.kind};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *rest = str_after(section, kinds[i]);

		if (rest && isspace((unsigned char)*rest))
			return strlen(kinds[i]);
	}
	return 0;
}

/* "policy  batch" is "policy batch". */
static void read_section(const char *text, char ret[KEY_MAX])
{
	size_t kind;

	snprintf(ret, KEY_MAX, "%.*s", (int)strcspn(text, "]"), text);
	kind = kind_length(ret);
	if (kind) {
		char *name = ret + kind + strspn(ret + kind, " \t");

		memmove(ret + kind + 1, name, strlen(name) + 1);
		ret[kind] = ' ';
	}
}

/* Calls `each` for every header and every "key = value". `copy` is cut into pieces. Returns 0 or
 * what `each` returns below 0. */
static int walk(char *copy, int (*each)(const struct line *line, void *userdata), void *userdata)
{
	char section[KEY_MAX] = "", key[KEY_MAX], *rest = copy, *text;
	int r = 0;

	if (str_after(rest, "\xef\xbb\xbf"))
		rest += 3;
	while (r >= 0 && (text = strsep(&rest, "\n"))) {
		struct line line = {section, NULL, text + strspn(text, " \t\r\f\v")};

		if (strchr("#;", *line.text)) /* also an empty one */
			continue;
		if (*line.text == '[') {
			read_section(line.text + 1, section);
		} else {
			size_t n = strcspn(line.text, "=:");

			while (n > 0 && isspace((unsigned char)line.text[n - 1]))
				n--;
			snprintf(key, sizeof(key), "%.*s", (int)n, line.text);
			line.key = key;
		}
		r = each(&line, userdata);
	}
	return MIN_OF(r, 0);
}

static int check_line(const struct line *line, void *userdata)
{
	struct error *err = userdata;

	if (str_after(line->section, "network ") || str_after(line->section, "share "))
		return fail(err, -EINVAL, "[%s] is set by administrators of the site only",
			line->section);
	for (size_t i = 0; line->key && i < ARRAY_SIZE(of_site); i++)
		if (streq(line->section, of_site[i].section) &&
			(!of_site[i].key || streq(line->key, of_site[i].key)))
			return fail(err, -EINVAL,
				"%s in [%s] is set by administrators of the site only", line->key,
				line->section);
	return 0;
}

/* The message has the path, which nobody knows. */
static int tell_line(const char *path, struct error *err)
{
	char text[ERROR_TEXT_MAX];
	const char *rest = str_after(err->text, path);

	if (rest && *rest == ':') {
		snprintf(text, sizeof(text), "line %s", rest + 1);
		return fail(err, -EINVAL, "%s", text);
	}
	return err->code;
}

/* The readers of settings take files, so it becomes one, without a name. */
static int check_file(int fd, const char *text, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	struct policies policies AUTO(policies_done) = {policy_section};
	char path[64];
	size_t length = strlen(text);
	int r;

	if (write(fd, text, length) != (ssize_t)length)
		return fail(err, -EIO, "cannot check the text: no memory for it");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = conf_init(settings_table, &settings, err);
	if (r == 0)
		r = policies_load(&policies, &settings, path, err);
	return r < 0 ? tell_line(path, err) : 0;
}

int configuration_check(const char *text, bool by_site, struct error *err)
{
	autoclose int fd = memfd_create("configuration", MFD_CLOEXEC);
	autofree char *copy = strdup(text);
	int r;

	if (fd < 0 || !copy)
		return fail(err, -ENOMEM, "out of memory");
	r = check_file(fd, text, err);
	return r < 0 || by_site ? r : walk(copy, check_line, err);
}

/* A text that is joined with others. */
struct merge {
	json_t *narrowest; /* "section\nkey", or "policy NAME", -> the narrowest scope that has it
			    */
	struct strv sections; /* plain ones, in the order in which they first stand */
	int scope;
	const char *section; /* that is written at the moment */
	bool header;         /* it has its header already */
	FILE *out;
};

/* By what a line is known. */
static const char *name_of(const struct line *line, char name[2 * KEY_MAX])
{
	if (kind_length(line->section) || !line->key)
		snprintf(name, 2 * KEY_MAX, "%s", line->section);
	else
		snprintf(name, 2 * KEY_MAX, "%s\n%s", line->section, line->key);
	return name;
}

static int note_line(const struct line *line, void *userdata)
{
	struct merge *m = userdata;
	char name[2 * KEY_MAX];
	int r = 0;

	if (!line->key && !kind_length(line->section)) {
		if (!json_object_get(m->narrowest, line->section))
			strv_add(&m->sections, line->section);
	}
	/* What is UTF-8 and what is not does not matter here. */
	r = json_object_set_new_nocheck(m->narrowest, name_of(line, name), json_integer(m->scope));
	return r < 0 || m->sections.failed ? -ENOMEM : 0;
}

static int write_line(const struct line *line, void *userdata)
{
	struct merge *m = userdata;
	bool named = kind_length(line->section) > 0;
	char name[2 * KEY_MAX];

	if (m->section ? !streq(line->section, m->section) : !named)
		return 0;
	if (json_integer_value(json_object_get(m->narrowest, name_of(line, name))) != m->scope)
		return 0;
	if (!line->key) {
		if (named)
			fprintf(m->out, "[%s]\n", line->section);
		return 0;
	}
	if (!named && !m->header)
		fprintf(m->out, "[%s]\n", line->section);
	m->header = true;
	fprintf(m->out, "%s\n", line->text);
	return 0;
}

static int walk_scope(struct merge *m, const char *const texts[CONFIGURATION_SCOPES], int scope,
	int (*each)(const struct line *line, void *userdata))
{
	autofree char *copy = strdup(texts[scope] ? texts[scope] : "");

	m->scope = scope;
	return copy ? walk(copy, each, m) : -ENOMEM;
}

static int merge_write(struct merge *m, const char *const texts[CONFIGURATION_SCOPES])
{
	int r = 0;

	for (size_t i = 0; i < m->sections.count && r == 0; i++) {
		m->section = m->sections.items[i];
		m->header = false;
		for (int scope = 0; scope < CONFIGURATION_SCOPES && r == 0; scope++)
			r = walk_scope(m, texts, scope, write_line);
	}
	m->section = NULL;
	for (int scope = CONFIGURATION_SCOPES - 1; scope >= 0 && r == 0; scope--)
		r = walk_scope(m, texts, scope, write_line);
	return r;
}

int configuration_merge(
	const char *const texts[CONFIGURATION_SCOPES], char **ret, struct error *err)
{
	struct merge m = {.narrowest = json_object()};
	size_t length;
	int r = 0;

	*ret = NULL;
	m.out = open_memstream(ret, &length);
	if (!m.narrowest || !m.out)
		r = -ENOMEM;
	for (int scope = 0; scope < CONFIGURATION_SCOPES && r == 0; scope++)
		r = walk_scope(&m, texts, scope, note_line);
	if (r == 0)
		r = merge_write(&m, texts);
	if (m.out && fclose(m.out) != 0)
		r = -ENOMEM;
	json_decref(m.narrowest);
	strv_done(&m.sections);
	if (r == 0)
		return 0;
	free(TAKE_PTR(*ret));
	return fail(err, r, "out of memory");
}

int configuration_revision(const char *text, char ret[DIGEST_HEX_SIZE], struct error *err)
{
	return digest_bytes(text, strlen(text), ret) < 0
		       ? fail(err, -EIO, "cannot make a digest of the configuration")
		       : 0;
}
