/* wnodes node list and remove, and other nodes than this one. */
#include "cli/node_site.h"

#include "cli/site.h"
#include "cli/site_verb.h"

static const struct verb_option list_rows[] = {
	SITE_FILTER(0, "group", "NAME", "Only nodes of this host group"),
	SITE_FILTER(1, "state", "STATE", "Only nodes in this state: joined, up, drained or lost"),
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"hostgroup", "GROUP", TABLE_TEXT},
	{"state", "STATE", TABLE_TEXT},
	{"vms", "VMS", TABLE_NUMBER},
	{"cpus", "CPUS", TABLE_NUMBER},
	{"memory_bytes", "MEMORY", TABLE_SIZE},
	{"version", "VERSION", TABLE_TEXT},
	{"seen", "SEEN", TABLE_TIME},
	{"reason", "REASON", TABLE_TEXT},
	{.key = NULL},
};

static const struct site_list nodes = {"nodes", list_rows, columns, "name", NULL};

static int run_list(const void *options, int arg_count, const char *const *args)
{
	return site_verb_list(&nodes, options);
}

static const struct table_column fields[] = {
	{"name", "Name", TABLE_TEXT},
	{"hostgroup", "Host group", TABLE_TEXT},
	{"state", "State", TABLE_TEXT},
	{"reason", "Reason", TABLE_TEXT},
	{"state_since", "Since", TABLE_TIME},
	{"wanted", "Wanted", TABLE_TEXT},
	{"wanted_reason", "Wanted why", TABLE_TEXT},
	{"vms", "VMs", TABLE_NUMBER},
	{"cpus", "CPUs", TABLE_NUMBER},
	{"memory_bytes", "Memory", TABLE_SIZE},
	{"version", "Version", TABLE_TEXT},
	{"configuration", "Configuration", TABLE_DIGEST},
	{"joined", "Joined", TABLE_TIME},
	{"seen", "Last seen", TABLE_TIME},
	{"autonomous_since", "On its own since", TABLE_TIME},
	{.key = NULL},
};

static void flatten(json_t *node)
{
	const json_t *wanted = json_object_get(node, "wanted_drained");

	if (json_is_boolean(wanted))
		json_object_set_new(
			node, "wanted", json_string(json_is_true(wanted) ? "drained" : "up"));
}

int node_site_show(const char *name, bool json)
{
	struct site_path path AUTO(site_path_done) = {0};
	json_t *node = NULL;
	int status;

	site_path_init(&path, "nodes", name, NULL);
	status = site_verb_get(&path, &node);
	if (status)
		return status;
	if (!json)
		flatten(node);
	return site_verb_print(node, fields, json);
}

int node_site_drain(const char *name, const char *reason, bool json)
{
	struct site_path path AUTO(site_path_done) = {0};
	json_t *body = reason ? json_pack("{s:b, s:s}", "drained", 1, "reason", reason)
			      : json_pack("{s:b, s:s}", "drained", 0, "reason", "");
	json_t *answer = NULL;
	int status;

	site_path_init(&path, "nodes", name, NULL);
	status = site_verb_change("PATCH", &path, body, "*", &answer);
	if (status)
		return status;
	return site_verb_tell(json, answer,
		reason ? "node '%s' is told to take no more VMs; see wnodes node show %s"
		       : "node '%s' is told to take VMs again; see wnodes node show %s",
		name, name);
}

static int run_remove(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *node = NULL, *answer = NULL;
	json_int_t vms;
	int status;

	/* To remove what is not there is no mistake to the site, but it is one of who types. */
	site_path_init(&path, "nodes", args[0], NULL);
	status = site_verb_get(&path, &node);
	vms = json_integer_value(json_object_get(node, "vms"));
	json_decref(node);
	if (status == EXIT_SUCCESS)
		status = site_verb_change("DELETE", &path, NULL, NULL, &answer);
	if (status)
		return status;
	return site_verb_tell(o->json, answer,
		"node '%s' is removed: its certificates are revoked, its leases returned, and its "
		"%" JSON_INTEGER_FORMAT " VMs are not known any more",
		args[0], vms);
}

const struct verb verb_node_list = {
	.name = "node list",
	.synopsis = "[options]",
	.summary = "List the site's nodes",
	.about = "Lists the nodes that have joined the site, as its controllers know them: up, "
		 "drained, lost (not heard of for a while), or joined (never heard of since).",
	.examples = "wnodes node list\n"
		    "wnodes node list --state lost,drained\n"
		    "wnodes node list --json | jq -r '.[] | select(.vms > 10).name'\n",
	.options = list_rows,
	.options_size = sizeof(struct site_list_options),
	.run = run_list,
};

const struct verb verb_node_remove = {
	.name = "node remove",
	.synopsis = "[options] NODE",
	.summary = "Remove a node from the site",
	.about =
		"The node's certificates are revoked, its leases are returned, and its VMs and its "
		"configuration are forgotten; usage records stay. It may join again with a new "
		"token. VMs that run on it go on. For administrators of the node's host group.",
	.examples = "wnodes node remove wn017\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "node",
	.run = run_remove,
};
