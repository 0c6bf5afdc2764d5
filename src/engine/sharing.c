#include "engine/sharing.h"

#include <errno.h>
#include <fnmatch.h>

#include "engine/site_file.h"
#include "lib/path.h"

static int check_path(const char *text, struct error *err)
{
	autofree char *normal = path_absolute(text);

	if (text[0] == '/' && normal && streq(text, normal))
		return 0;
	return fail(err, -EINVAL,
		"'%s' is no absolute path without '..', '//' and a slash at its end", text);
}

#define ROW(key, type, member, ...)                                                           \
	{                                                                                     \
		"share", key, CONF_##type, offsetof(struct sharing_rule, member), __VA_ARGS__ \
	}

static const struct conf_setting share_table[] = {
	ROW("path", STRING, path,
		.help = "Directory that the rule is for, with all below it; of several rules that one "
			"counts whose path is the longest.",
		.check = check_path),
	ROW("access", CHOICE, access, .default_value = "rw", .choices = "rw|ro|none",
		.help = "What VMs may have of it: rw (to read and write, as far as their user may), ro (to "
			"read only), or none."),
	ROW("users", WORDS, users,
		.help = "Users, and @groups, whose VMs may have it; all when not set. Patterns may be "
			"given."),
	{.key = NULL},
};

#define SECTION                                                                                   \
	.kind = "share", .table = share_table, .size = sizeof(struct sharing_rule),               \
	.help = "Directories of the host that VMs may have. With one such section, VMs get only " \
		"what a section covers; without any, whatever their user can reach. Only the "    \
		"system's file, and what a site gives its nodes, may have them."

const struct conf_list share_section = {SECTION};
const struct conf_list share_section_refused = {SECTION,
	.refused = "what may be shared is the site's to say: only the system's wnodes.conf "
		   "may have this"};

int sharing_check(const struct sharing *s, const char *path, struct error *err)
{
	for (size_t i = 0; i < s->list.count; i++) {
		const struct conf_item *item = &s->list.items[i];
		const struct sharing_rule *rule = item->settings;

		if (!rule->path)
			return fail(err, -EINVAL, "%s:%d: [share %s]: it has no path", path,
				item->line, item->name);
	}
	return 0;
}

int sharing_load(struct sharing *ret, const char *pushed, const char *path, struct error *err)
{
	struct site_file file AUTO(site_file_done);
	int r = site_file_load_over(&file, NULL, pushed, path, err);

	*ret = file.sharing;
	file.sharing = (struct sharing){share_section};
	return r;
}

void sharing_done(struct sharing *s)
{
	conf_list_done(&s->list);
}

static bool is_in(const char *const *groups, const char *pattern)
{
	for (; groups && *groups; groups++)
		if (fnmatch(pattern, *groups, 0) == 0)
			return true;
	return false;
}

static bool is_for(const struct sharing_rule *rule, const struct sharing_subject *subject)
{
	for (char **i = rule->users; *i; i++)
		if ((*i)[0] == '@' ? is_in(subject->groups, *i + 1)
				   : subject->user && fnmatch(*i, subject->user, 0) == 0)
			return true;
	return !rule->users[0];
}

static const struct conf_item *find_rule(const struct sharing *s, const char *path)
{
	const struct conf_item *best = NULL;
	size_t longest = 0;

	for (size_t i = 0; i < s->list.count; i++) {
		const struct sharing_rule *rule = s->list.items[i].settings;
		size_t length = strlen(rule->path);

		if (length > longest && path_is_below(path, rule->path)) {
			best = &s->list.items[i];
			longest = length;
		}
	}
	return best;
}

int sharing_decide(const struct sharing *s, const struct sharing_subject *subject, const char *path,
	struct error *err)
{
	const struct conf_item *item;
	const struct sharing_rule *rule;

	if (s->list.count == 0 || subject->uid == 0)
		return 0;
	item = find_rule(s, path);
	rule = item ? item->settings : NULL;
	if (!rule)
		return fail(err, -EACCES,
			"the site lets no VM have the directory '%s'; those that it does stand in "
			"%s, [share]",
			path, settings_site_file());
	if (streq(rule->access, "none") || !is_for(rule, subject))
		return fail(err, -EACCES,
			"the site lets %s VM have the directory '%s' ([share %s]); ask its "
			"administrators",
			streq(rule->access, "none") ? "no" : "not your", path, item->name);
	return streq(rule->access, "ro");
}
