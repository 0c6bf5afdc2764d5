/* wnodes group: host groups, which have administrators and a configuration of their own. */
#include "cli/site.h"
#include "cli/site_verb.h"

static const struct verb_option list_rows[] = {
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"nodes", "NODES", TABLE_NUMBER},
	{"description", "DESCRIPTION", TABLE_TEXT},
	{.key = NULL},
};

static const struct site_list groups = {"groups", list_rows, columns, "name", NULL};

static int run_list(const void *options, int arg_count, const char *const *args)
{
	return site_verb_list(&groups, options);
}

struct create_options {
	bool json;
	const char *description;
};

static const struct verb_option create_rows[] = {
	{"description", 0, OPTION_STRING, offsetof(struct create_options, description), "TEXT",
		.help = "What the group is for"},
	SITE_JSON_OPTION(struct create_options),
	{.name = NULL},
};

static int run_create(const void *options, int arg_count, const char *const *args)
{
	const struct create_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *answer = NULL;
	int status;

	site_path_init(&path, "groups", args[0], NULL);
	status = site_verb_change("PUT", &path,
		json_pack("{s:s}", "description", o->description ? o->description : ""), NULL,
		&answer);
	return status ? status
		      : site_verb_tell(o->json, answer, "there is a host group '%s'", args[0]);
}

static int add_node(const char *group, const char *node, bool json)
{
	struct site_path path AUTO(site_path_done) = {0};
	json_t *answer = NULL;
	int status;

	site_path_init(&path, "nodes", node, NULL);
	status = site_verb_change(
		"PATCH", &path, json_pack("{s:s}", "hostgroup", group), "*", &answer);
	if (status)
		return status;
	return site_verb_tell(json, answer,
		*group ? "node '%s' is in the host group '%s'" : "node '%s' is in no host group%s",
		node, group);
}

struct add_options {
	bool none, json;
};

static const struct verb_option add_rows[] = {
	{"none", 0, OPTION_FLAG, offsetof(struct add_options, none),
		.help = "Takes the nodes out of their group; all arguments are nodes"},
	SITE_JSON_OPTION(struct add_options),
	{.name = NULL},
};

static int run_add(const void *options, int arg_count, const char *const *args)
{
	const struct add_options *o = options;
	int first = o->none ? 0 : 1, status = EXIT_SUCCESS;

	if (arg_count == first)
		return site_verb_fail("write which nodes: wnodes group add GROUP NODE...");
	for (int i = first; i < arg_count && status == EXIT_SUCCESS; i++)
		status = add_node(o->none ? "" : args[0], args[i], o->json);
	return status;
}

static int run_remove(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *group = NULL, *answer = NULL;
	int status;

	site_path_init(&path, "groups", args[0], NULL);
	status = site_verb_get(&path, &group);
	json_decref(group);
	if (status == EXIT_SUCCESS)
		status = site_verb_change("DELETE", &path, NULL, NULL, &answer);
	return status ? status
		      : site_verb_tell(o->json, answer, "the host group '%s' is removed", args[0]);
}

const struct verb verb_group_list = {
	.name = "group list",
	.synopsis = "[options]",
	.summary = "List the site's host groups",
	.about = "Lists the host groups. A node is in one group or in none; a group may have "
		 "administrators of its own (wnodes role grant) and a configuration of its own "
		 "(wnodes config edit --group).",
	.examples = "wnodes group list\n",
	.options = list_rows,
	.options_size = sizeof(struct site_list_options),
	.run = run_list,
};

const struct verb verb_group_create = {
	.name = "group create",
	.synopsis = "[options] GROUP",
	.summary = "Make a host group",
	.about =
		"Makes a host group without nodes, or gives one that there is another description. "
		"For administrators of the site.",
	.examples = "wnodes group create gpu --description 'nodes with GPUs, run by the ML team'\n",
	.options = create_rows,
	.options_size = sizeof(struct create_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_create,
};

const struct verb verb_group_add = {
	.name = "group add",
	.synopsis = "[options] GROUP NODE...",
	.summary = "Put nodes into a host group",
	.about = "Each node leaves the group that it was in. From then on it has the configuration "
		 "of its new group, whose administrators it is left to. For administrators of the "
		 "site.",
	.examples = "wnodes group add gpu wn017 wn018\n"
		    "wnodes group add --none wn018\n",
	.options = add_rows,
	.options_size = sizeof(struct add_options),
	.min_args = 1,
	.max_args = -1,
	.args_complete = "node",
	.run = run_add,
};

const struct verb verb_group_remove = {
	.name = "group remove",
	.synopsis = "[options] GROUP",
	.summary = "Remove a host group without nodes",
	.about = "A group that still has nodes is refused. Its configuration and the roles that "
		 "were granted for it go with it. For administrators of the site.",
	.examples = "wnodes group remove gpu\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "group",
	.run = run_remove,
};
