/* wnodes role: who may endorse images and administer the site or a host group. */
#include <errno.h>

#include "cli/site.h"
#include "cli/site_verb.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/uuid.h"

#define ROLES "administrator|endorser"

static const struct verb_option list_rows[] = {
	SITE_FILTER(0, "role", "ROLE", "Only this role: administrator or endorser"),
	SITE_FILTER(1, "group", "NAME", "Only roles for this host group"),
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"who", "WHO", TABLE_TEXT},
	{"role", "ROLE", TABLE_TEXT},
	{"scope", "OF", TABLE_TEXT},
	{"granted_by", "GRANTED BY", TABLE_TEXT},
	{"granted", "GRANTED", TABLE_TIME},
	{.key = NULL},
};

/* As it is typed. */
static json_t *who_of(const char *subject)
{
	const char *user = str_after(subject, "user:"), *group = str_after(subject, "group:");

	return group ? json_sprintf("@%s", group) : json_string(user ? user : subject);
}

static void flatten(json_t *role)
{
	const char *subject = json_string_value(json_object_get(role, "subject"));
	const char *group = json_string_value(json_object_get(role, "hostgroup"));

	json_object_set_new(role, "who", subject ? who_of(subject) : json_null());
	json_object_set_new(role, "scope", json_string(group && *group ? group : "the site"));
}

static const struct site_list roles = {"roles", list_rows, columns, "id", flatten};

static int run_list(const void *options, int arg_count, const char *const *args)
{
	return site_verb_list(&roles, options);
}

struct role_options {
	bool json;
	const char *group;
};

static const struct verb_option rows[] = {
	{"group", 0, OPTION_STRING, offsetof(struct role_options, group), "NAME",
		.help = "Of this host group alone, not of the whole site", .complete = "group"},
	SITE_JSON_OPTION(struct role_options),
	{.name = NULL},
};

/* "alice" and "@staff", as in settings, are "user:alice" and "group:staff". */
static char *subject_of(const char *who)
{
	return path_format("%s%s", *who == '@' ? "group:" : "user:", *who == '@' ? who + 1 : who);
}

static int check_role(const char *role)
{
	return streq(role, "administrator") || streq(role, "endorser")
		       ? EXIT_SUCCESS
		       : site_verb_fail("there is no role '%s'; there are " ROLES, role);
}

static int run_grant(const void *options, int arg_count, const char *const *args)
{
	const struct role_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	autofree char *subject = subject_of(args[0]);
	char id[UUID_TEXT_SIZE];
	json_t *answer = NULL;
	int status = check_role(args[1]);

	if (status == EXIT_SUCCESS && (!subject || uuid_new(id) < 0))
		status = site_verb_fail("out of memory");
	if (status)
		return status;
	site_path_init(&path, "roles", id, NULL);
	status = site_verb_change("PUT", &path,
		json_pack("{s:s, s:s, s:s}", "subject", subject, "role", args[1], "hostgroup",
			o->group ? o->group : ""),
		NULL, &answer);
	if (status)
		return status;
	return site_verb_tell(o->json, answer, "%s is %s of %s%s", args[0], args[1],
		o->group ? "the host group " : "the site", o->group ? o->group : "");
}

/* Looking for the role that is to be revoked. */
struct search {
	const char *subject, *group;
	char id[UUID_TEXT_SIZE + 64];
};

static int find_role(json_t *role, void *userdata)
{
	struct search *s = userdata;
	const char *id = json_string_value(json_object_get(role, "id"));
	const char *subject = json_string_value(json_object_get(role, "subject"));
	const char *group = json_string_value(json_object_get(role, "hostgroup"));

	if (id && subject && group && streq(subject, s->subject) && streq(group, s->group))
		snprintf(s->id, sizeof(s->id), "%s", id);
	json_decref(role);
	return 0;
}

static int search_role(struct search *s, const char *role)
{
	struct site_path path AUTO(site_path_done) = {0};
	struct error err = {0};

	site_path_init(&path, "roles", NULL);
	site_path_add(&path, "role", role);
	if (site_call_list(&path, find_role, s, &err) < 0)
		return site_verb_fail("%s", err.text);
	if (!*s->id)
		return site_verb_fail(
			"%s is not granted to %s; see wnodes role list", role, s->subject);
	return EXIT_SUCCESS;
}

static int run_revoke(const void *options, int arg_count, const char *const *args)
{
	const struct role_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	autofree char *subject = subject_of(args[0]);
	struct search search = {.subject = subject, .group = o->group ? o->group : ""};
	json_t *answer = NULL;
	int status = check_role(args[1]);

	if (status == EXIT_SUCCESS)
		status = subject ? search_role(&search, args[1]) : site_verb_fail("out of memory");
	if (status)
		return status;
	site_path_init(&path, "roles", search.id, NULL);
	status = site_verb_change("DELETE", &path, NULL, NULL, &answer);
	if (status)
		return status;
	return site_verb_tell(o->json, answer, "%s is no %s of %s%s any more", args[0], args[1],
		o->group ? "the host group " : "the site", o->group ? o->group : "");
}

const struct verb verb_role_list = {
	.name = "role list",
	.synopsis = "[options]",
	.summary = "List who administers and who endorses",
	.about = "Lists the roles that were granted with wnodes role grant. Those that the "
		 "controllers' own settings grant ([controller] administrators, endorsers) are not "
		 "among them; wnodes site status shows your own from both.",
	.examples = "wnodes role list\n",
	.options = list_rows,
	.options_size = sizeof(struct site_list_options),
	.run = run_list,
};

const struct verb verb_role_grant = {
	.name = "role grant",
	.synopsis = "[options] WHO ROLE",
	.summary = "Make somebody administrator or endorser",
	.about =
		"WHO is a user, or @GROUP of the operating system on the controllers. An "
		"administrator of a host group drains, resumes and removes its nodes, changes its "
		"configuration and lets nodes join it; one of the site does everything. An endorser "
		"answers for images. For administrators of the site.",
	.examples = "wnodes role grant alice administrator --group gpu\n"
		    "wnodes role grant @operators administrator\n",
	.options = rows,
	.options_size = sizeof(struct role_options),
	.min_args = 2,
	.max_args = 2,
	.args_complete = "=" ROLES,
	.run = run_grant,
};

const struct verb verb_role_revoke = {
	.name = "role revoke",
	.synopsis = "[options] WHO ROLE",
	.summary = "Take a role back",
	.about = "Takes back what wnodes role grant has granted, for the site or with --group for "
		 "that group. It holds at once. For administrators of the site.",
	.examples = "wnodes role revoke alice administrator --group gpu\n",
	.options = rows,
	.options_size = sizeof(struct role_options),
	.min_args = 2,
	.max_args = 2,
	.args_complete = "=" ROLES,
	.run = run_revoke,
};
