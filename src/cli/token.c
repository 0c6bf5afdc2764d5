/* wnodes token: what lets a node join, and says who a user is where nothing else does. */
#include "cli/site.h"
#include "cli/site_verb.h"
#include "lib/uuid.h"

#define SECOND_US    UINT64_C(1000000)
#define LIFETIME_MAX (366 * 24 * 3600 * SECOND_US)

static const struct verb_option list_rows[] = {
	SITE_FILTER(0, "kind", "KIND", "Only tokens of this kind: join or bearer"),
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"id", "ID", TABLE_TEXT},
	{"kind", "KIND", TABLE_TEXT},
	{"name", "NAME", TABLE_TEXT},
	{"hostgroup", "GROUP", TABLE_TEXT},
	{"roles", "ROLES", TABLE_TEXT},
	{"created_by", "MADE BY", TABLE_TEXT},
	{"created", "MADE", TABLE_TIME},
	{"expires", "EXPIRES", TABLE_TIME},
	{"used", "USED", TABLE_TIME},
	{.key = NULL},
};

static const struct site_list tokens = {"tokens", list_rows, columns, "id", NULL};

static int run_list(const void *options, int arg_count, const char *const *args)
{
	return site_verb_list(&tokens, options);
}

struct create_options {
	bool join, json;
	const char *user, *node, *group, *id;
	uint64_t expires;
	struct verb_list roles;
};

static const struct verb_option create_rows[] = {
	{"join", 0, OPTION_FLAG, offsetof(struct create_options, join),
		.help = "Makes a token by which one node may join the site, once"},
	{"group", 0, OPTION_STRING, offsetof(struct create_options, group), "NAME",
		.help = "With --join: the host group that the node will be in; else the one that an "
			"administrator by this token is limited to",
		.complete = "group"},
	{"node", 0, OPTION_STRING, offsetof(struct create_options, node), "NAME",
		.help = "With --join: only a node of this name may use it", .complete = "node"},
	{"user", 'u', OPTION_STRING, offsetof(struct create_options, user), "NAME",
		.help = "Makes a token that says that one is this user; your own without --join and "
			"--user"},
	{"role", 0, OPTION_LIST, offsetof(struct create_options, roles), "ROLE",
		.help = "What its user may do with it, of what the user may do at all: user, endorser "
			"or administrator; may be repeated; user by default"},
	{"id", 0, OPTION_STRING, offsetof(struct create_options, id), "NAME",
		.help = "What it is called in lists and to wnodes token revoke; a UUID by default"},
	{"expires", 0, OPTION_DURATION, offsetof(struct create_options, expires), "DURATION",
		.help = "How long it is valid, for example 1h; the site's own limits hold",
		.min = SECOND_US, .max = LIFETIME_MAX},
	SITE_JSON_OPTION(struct create_options),
	{.name = NULL},
};

static json_t *create_body(const struct create_options *o)
{
	const char *name = o->join ? o->node : o->user;
	json_t *body = json_pack("{s:s}", "kind", o->join ? "join" : "bearer");

	if (name)
		json_object_set_new(body, "name", json_string(name));
	if (o->group)
		json_object_set_new(body, "hostgroup", json_string(o->group));
	if (o->roles.count > 0)
		json_object_set_new(body, "roles", site_verb_texts(&o->roles));
	if (o->expires > 0)
		json_object_set_new(
			body, "lifetime_s", json_integer((json_int_t)(o->expires / SECOND_US)));
	return body;
}

/* The token alone is on stdout, for `token=$(wnodes token create --join)`. */
static int print_token(const struct create_options *o, json_t *answer)
{
	const char *token = json_string_value(json_object_get(answer, "token"));
	int status;

	if (!token && !o->json) {
		json_decref(answer);
		return site_verb_fail("the site gave no token");
	}
	status = site_verb_tell(o->json, json_incref(answer), "%s", token);
	json_decref(answer);
	if (!o->json && isatty(STDERR_FILENO))
		fputs("This is the only time that it is shown.\n", stderr);
	return status;
}

static int run_create(const void *options, int arg_count, const char *const *args)
{
	const struct create_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	char id[UUID_TEXT_SIZE];
	json_t *answer = NULL;
	int status;

	if (o->join && (o->user || o->roles.count > 0))
		return site_verb_fail("--join is for a node, --%s for a user: give one of them",
			o->user ? "user" : "role");
	if (!o->join && o->node)
		return site_verb_fail("--node is for a token with --join");
	if (!o->id && uuid_new(id) < 0)
		return site_verb_fail("cannot make an id");
	site_path_init(&path, "tokens", o->id ? o->id : id, NULL);
	status = site_verb_change("PUT", &path, create_body(o), NULL, &answer);
	return status ? status : print_token(o, answer);
}

static int run_revoke(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *answer = NULL;
	int status;

	site_path_init(&path, "tokens", args[0], NULL);
	status = site_verb_change("DELETE", &path, NULL, NULL, &answer);
	return status ? status
		      : site_verb_tell(o->json, answer, "the token %s is valid no more", args[0]);
}

const struct verb verb_token_list = {
	.name = "token list",
	.synopsis = "[options]",
	.summary = "List tokens, without their secrets",
	.about = "Lists the tokens that were made: those by which nodes join, and those of users; "
		 "your own, for administrators all. A token itself is shown once, when it is made.",
	.examples = "wnodes token list --kind join\n",
	.options = list_rows,
	.options_size = sizeof(struct site_list_options),
	.run = run_list,
};

const struct verb verb_token_create = {
	.name = "token create",
	.synopsis = "[options]",
	.summary = "Make a token for a node or for a user",
	.about =
		"With --join, makes a token by which one node joins the site: once, within a day if "
		"--expires says nothing else. For administrators of the site, and with --group those "
		"of the group.\n"
		"\n"
		"Without it, makes a bearer token, good for 30 days: who shows it is taken for its "
		"user, where there is neither the controller's socket nor MUNGE. Put it into a file "
		"that only you can read, and name that with [site] token_file. Tokens of others are "
		"for administrators; a token makes no tokens.\n"
		"\n"
		"The token is the only line on stdout, and is not shown again.",
	.examples = "wnodes token create --join --group gpu --expires 1h\n"
		    "(umask 077; wnodes token create --expires 720h >~/.config/wnodes/token)\n"
		    "wnodes token create --user alice --role user --id alice-laptop\n",
	.options = create_rows,
	.options_size = sizeof(struct create_options),
	.run = run_create,
};

const struct verb verb_token_revoke = {
	.name = "token revoke",
	.synopsis = "[options] ID",
	.summary = "Make a token invalid",
	.about = "Nobody joins or is known by it any more; what was done with it stays. ID is as "
		 "wnodes token list shows it.",
	.examples = "wnodes token revoke 2f9c9a54-4a4e-4c6e-9d43-1c8f1a6a9a10\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.min_args = 1,
	.max_args = 1,
	.run = run_revoke,
};
