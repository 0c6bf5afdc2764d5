#include "controller/whoami.h"

#include "lib/json.h"

static json_t *roles_to_json(unsigned int roles)
{
	static const struct {
		unsigned int role;
		const char *word;
	} words[] = {
		{ROLE_USER, "user"},
		{ROLE_NODE, "node"},
		{ROLE_ENDORSER, "endorser"},
		{ROLE_ADMINISTRATOR, "administrator"},
	};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (list && (roles & words[i].role))
			json_array_append_new(list, json_string(words[i].word));
	return list;
}

static int run(struct exchange *x, struct sql *db)
{
	const struct caller *c = &x->caller;

	return exchange_answer(x, 200,
		json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:o}", "kind",
			c->kind == CALLER_NODE ? "node" : "user", "name", c->name, "uid",
			c->uid >= 0 ? json_integer(c->uid) : json_null(), "roles",
			roles_to_json(c->roles), "hostgroups",
			json_from_strings((const char *const *)c->groups), "how",
			c->how ? c->how : "none", "serial",
			c->serial[0] ? json_string(c->serial) : json_null()));
}

const struct route whoami_routes[] = {
	{"GET", "/v1/whoami", ROUTE_PLAIN, ROLE_USER | ROLE_NODE,
		"Says whom the controller takes the caller for", .run = run},
	{.method = NULL},
};
