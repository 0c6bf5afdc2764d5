/* wnodes lease: names and addresses that are lent to VMs. */
#include "cli/site.h"
#include "cli/site_verb.h"

static const struct verb_option list_rows[] = {
	SITE_FILTER(0, "pool", "NAME", "Only leases of this pool"),
	SITE_FILTER(1, "node", "NAME", "Only leases that this node holds"),
	SITE_FILTER(2, "job", "SYSTEM.ID", "Only leases of this job, as slurm.4711"),
	SITE_FILTER(3, "user", "NAME", "Only leases of this user's VMs"),
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"id", "ID", TABLE_TEXT},
	{"pool", "POOL", TABLE_TEXT},
	{"name", "NAME", TABLE_TEXT},
	{"address", "ADDRESS", TABLE_TEXT},
	{"mac", "MAC", TABLE_TEXT},
	{"vlan", "VLAN", TABLE_NUMBER},
	{"node", "NODE", TABLE_TEXT},
	{"user", "USER", TABLE_TEXT},
	{"job", "JOB", TABLE_TEXT},
	{"given", "GIVEN", TABLE_TIME},
	{.key = NULL},
};

static const struct site_list leases = {"leases", list_rows, columns, "id", NULL};

static int run_list(const void *options, int arg_count, const char *const *args)
{
	return site_verb_list(&leases, options);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && *text ? text : "-";
}

static int run_return(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *lease = NULL, *answer = NULL;
	int status;

	site_path_init(&path, "leases", args[0], NULL);
	status = site_verb_get(&path, &lease);
	if (status == EXIT_SUCCESS)
		status = site_verb_change("DELETE", &path, NULL, NULL, &answer);
	if (status == EXIT_SUCCESS)
		status = site_verb_tell(o->json, answer,
			"%s (%s) is back in the pool '%s'; node %s had it", text_of(lease, "name"),
			text_of(lease, "address"), text_of(lease, "pool"), text_of(lease, "node"));
	json_decref(lease);
	return status;
}

const struct verb verb_lease_list = {
	.name = "lease list",
	.synopsis = "[options]",
	.summary = "List names and addresses that are lent",
	.about =
		"Lists the leases of the site: the host name, the address and the MAC address that "
		"each VM, or a node for its next VMs, has of a pool until it ends. Users see their "
		"own.",
	.examples = "wnodes lease list --pool grid\n"
		    "wnodes lease list --node wn017 --json\n",
	.options = list_rows,
	.options_size = sizeof(struct site_list_options),
	.run = run_list,
};

const struct verb verb_lease_return = {
	.name = "lease return",
	.synopsis = "[options] ID",
	.summary = "Give back a lease by hand",
	.about =
		"A lease is given back when its VM ends, and some time after its node was lost. "
		"This does it at once. A VM that still uses the name and the address goes on to use "
		"them, while another may be given the same: look before.",
	.examples = "wnodes lease return 2f9c9a54-4a4e-4c6e-9d43-1c8f1a6a9a10\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.min_args = 1,
	.max_args = 1,
	.run = run_return,
};
