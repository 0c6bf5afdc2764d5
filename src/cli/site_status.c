/* wnodes site status: which controllers answer, and for whom they take the caller. */
#include <errno.h>

#include "cli/site.h"
#include "cli/site_verb.h"
#include "engine/settings.h"
#include "lib/log.h"

#define LOCAL "this machine's own"

static const struct table_column columns[] = {
	{"controller", "CONTROLLER", TABLE_TEXT},
	{"status", "STATUS", TABLE_TEXT},
	{"database", "DATABASE", TABLE_TEXT},
	{"version", "VERSION", TABLE_TEXT},
	{"reason", "REASON", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column identity_fields[] = {
	{"name", "You are", TABLE_TEXT},
	{"kind", "Kind", TABLE_TEXT},
	{"roles", "Roles", TABLE_TEXT},
	{"hostgroups", "Host groups", TABLE_TEXT},
	{"how", "Known by", TABLE_TEXT},
	{.key = NULL},
};

/* One controller: its answer, or why it gives none. `address` NULL: this machine's. */
static json_t *ask_one(const char *address)
{
	struct site_path path AUTO(site_path_done) = {0};
	struct error err = {0};
	json_t *answer = NULL;
	int r;

	site_path_set(&path, "/healthz");
	r = site_call_ask_at(address, &path, &answer, &err);
	if (r < 0 || !json_is_object(answer)) {
		json_decref(answer);
		answer = json_pack("{s:s, s:s}", "status", r == -ENOTCONN ? "unreached" : "failed",
			"reason", err.text);
	}
	json_object_set_new(answer, "controller", json_string(address ? address : LOCAL));
	return answer;
}

static json_t *ask_all(const struct settings *settings)
{
	json_t *list = json_array();

	for (char **c = settings->site_controllers; *c; c++)
		json_array_append_new(list, ask_one(*c));
	if (!settings->site_controllers[0])
		json_array_append_new(list, ask_one(NULL));
	return list;
}

static bool one_is_well(json_t *controllers)
{
	json_t *row;
	size_t i;

	json_array_foreach(controllers, i, row)
	{
		const char *status = json_string_value(json_object_get(row, "status"));

		if (status && streq(status, "ok"))
			return true;
	}
	return false;
}

/* NULL after saying why. */
static json_t *ask_identity(void)
{
	struct site_path path AUTO(site_path_done) = {0};
	struct error err = {0};
	json_t *identity = NULL;

	site_path_init(&path, "whoami", NULL);
	if (site_call_ask("GET", &path, NULL, NULL, &identity, &err) < 0)
		log_error("%s", err.text);
	return identity;
}

static int print_people(json_t *controllers, json_t *identity)
{
	struct table *table AUTO(table_freep) = table_new(columns);
	json_t *row;
	size_t i;
	int r = table ? 0 : -ENOMEM;

	json_array_foreach(controllers, i, row) if (r == 0) r = table_add(table, json_incref(row));
	if (r == 0)
		r = table_print(table, stdout);
	if (r < 0)
		return EXIT_WNODES;
	if (!identity)
		return EXIT_SUCCESS;
	putchar('\n');
	return site_verb_print(json_incref(identity), identity_fields, false);
}

static int print_json(json_t *controllers, json_t *identity)
{
	json_t *all = json_pack("{s:O, s:O*}", "controllers", controllers, "whoami", identity);

	return site_verb_tell(true, all, "%s", "");
}

static int run_status(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct settings settings AUTO(settings_done) = {0};
	json_t *controllers, *identity = NULL;
	struct error err = {0};
	bool well;
	int status;

	if (settings_load(&settings, &err) < 0)
		return site_verb_fail("%s", err.text);
	controllers = ask_all(&settings);
	well = one_is_well(controllers);
	if (well)
		identity = ask_identity();
	status = o->json ? print_json(controllers, identity) : print_people(controllers, identity);
	if (!well || !identity)
		status = EXIT_WNODES;
	json_decref(controllers);
	json_decref(identity);
	return status;
}

const struct verb verb_site_status = {
	.name = "site status",
	.synopsis = "[options]",
	.summary = "Show which controllers answer, and who you are to them",
	.about =
		"Asks each controller that [site] controllers in wnodes.conf names whether it "
		"serves and reaches its database, and then one of them for whom it takes you: your "
		"name, your roles, the host groups that you administer, and by what you are known "
		"(socket, MUNGE, token or certificate).\n"
		"\n"
		"The exit status is 0 if one controller serves and knows you.",
	.examples = "wnodes site status\n"
		    "wnodes site status --json | jq -r .whoami.roles\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.run = run_status,
};
