/* wnodes certificate: by which controllers know nodes. */
#include "cli/site.h"
#include "cli/site_verb.h"

static const struct verb_option list_rows[] = {
	SITE_FILTER(0, "node", "NAME", "Only certificates of this node"),
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"serial", "SERIAL", TABLE_TEXT},
	{"node", "NODE", TABLE_TEXT},
	{"issued", "ISSUED", TABLE_TIME},
	{"not_after", "VALID UNTIL", TABLE_TIME},
	{"revoked", "REVOKED", TABLE_TIME},
	{"reason", "REASON", TABLE_TEXT},
	{.key = NULL},
};

static const struct site_list certificates = {"certificates", list_rows, columns, "serial", NULL};

static int run_list(const void *options, int arg_count, const char *const *args)
{
	return site_verb_list(&certificates, options);
}

static int run_revoke(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *answer = NULL;
	int status;

	site_path_init(&path, "certificates", args[0], "revoke", NULL);
	status = site_verb_change(
		"POST", &path, json_pack("{s:s}", "reason", args[1]), NULL, &answer);
	return status ? status
		      : site_verb_tell(o->json, answer,
				"the certificate %s is revoked; its node needs a new token to join "
				"again",
				args[0]);
}

const struct verb verb_certificate_list = {
	.name = "certificate list",
	.synopsis = "[options]",
	.summary = "List the nodes' certificates",
	.about = "Lists the certificates that the site's own authority has issued to nodes, also "
		 "those that were revoked. For administrators.",
	.examples = "wnodes certificate list --node wn017\n",
	.options = list_rows,
	.options_size = sizeof(struct site_list_options),
	.run = run_list,
};

const struct verb verb_certificate_revoke = {
	.name = "certificate revoke",
	.synopsis = "[options] SERIAL REASON",
	.summary = "Let a node's certificate be valid no more",
	.about =
		"No controller takes the certificate from then on, as when a node was broken into. "
		"The node's VMs go on; it can join again with a new token. For administrators of "
		"the node's host group.",
	.examples = "wnodes certificate revoke 4a3f0c11 'node was stolen'\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.min_args = 2,
	.max_args = 2,
	.run = run_revoke,
};
