#include "controller/route.h"

#include <errno.h>
#include <stdio.h>

#include "controller/target.h"
#include "lib/nearest.h"
#include "lib/parse.h"
#include "lib/timestamp.h"

/* A path has a handful of parts. */
#define PATH_PARTS_MAX 8

struct path_part {
	const char *text;
	size_t length;
};

/* Splits "/a/b" at its slashes. Returns the number of parts; 0 for what no route can fit, as
 * it has too many, or does not begin as a path does. */
static size_t split(const char *path, struct path_part parts[PATH_PARTS_MAX])
{
	size_t count = 0;

	while (*path == '/') {
		size_t length = strcspn(++path, "/");

		if (count == PATH_PARTS_MAX)
			return 0;
		parts[count++] = (struct path_part){path, length};
		path += length;
	}
	return *path ? 0 : count;
}

static bool path_fits(const char *pattern, const struct path_part *parts, size_t count)
{
	size_t i = 0;

	for (; *pattern == '/'; i++) {
		size_t length = strcspn(++pattern, "/");

		if (i == count)
			return false;
		if (*pattern == '{' ? parts[i].length == 0
				    : parts[i].length != length ||
					      memcmp(pattern, parts[i].text, length) != 0)
			return false;
		pattern += length;
	}
	return i == count;
}

static int take_params(struct exchange *x, const struct path_part *parts)
{
	const char *pattern = x->route->path;
	size_t taken = 0;

	for (size_t i = 0; *pattern == '/' && taken < EXCHANGE_PARAMS_MAX; i++) {
		if (*++pattern == '{') {
			int r = target_decode(parts[i].text, parts[i].length, false,
				x->params[taken], sizeof(x->params[taken]));

			if (r == -ENAMETOOLONG)
				return exchange_fail(x, 404, "a part of the path is too long");
			if (r < 0)
				return exchange_fail(x, 400, "the path is not properly encoded");
			taken++;
		}
		pattern += strcspn(pattern, "/");
	}
	return 0;
}

static void allow_add(char allow[ROUTE_ALLOW_MAX], const char *method)
{
	size_t used = strlen(allow);

	snprintf(allow + used, ROUTE_ALLOW_MAX - used, "%s%s%s", used ? ", " : "", method,
		streq(method, "GET") ? ", HEAD" : "");
}

int route_find(struct exchange *x, const char *method, const char *path, const char **ret_allow)
{
	static _Thread_local char allow[ROUTE_ALLOW_MAX];
	struct path_part parts[PATH_PARTS_MAX];
	size_t count = split(path, parts);

	if (streq(method, "HEAD"))
		method = "GET";
	allow[0] = '\0';
	for (const struct route *const *table = route_tables; *table; table++)
		for (const struct route *r = *table; r->method; r++) {
			if (!path_fits(r->path, parts, count))
				continue;
			if (streq(r->method, method)) {
				x->route = r;
				return take_params(x, parts);
			}
			allow_add(allow, r->method);
		}
	*ret_allow = allow;
	if (!allow[0])
		return exchange_fail(x, 404,
			"there is nothing at '%.200s'; /v1/openapi.json has what there is", path);
	return exchange_fail(x, 405, "'%.200s' takes %s only", path, allow);
}

static const char *role_name(unsigned int roles)
{
	if (roles & ROLE_USER)
		return "a user of the cluster";
	if (roles & ROLE_GROUP_ADMIN)
		return "an administrator of the site or of a host group";
	if (roles & ROLE_ADMINISTRATOR)
		return "an administrator of the site";
	return roles & ROLE_ENDORSER ? "an endorser" : "a node";
}

int route_check_caller(struct exchange *x)
{
	const struct caller *c = &x->caller;

	if ((x->route->roles & ROLE_ANYONE) || (x->route->roles & c->roles))
		return 0;
	if (c->kind == CALLER_NOBODY)
		return exchange_fail(x, 401,
			"this is for %s: show a token, a credential of MUNGE or a node's certificate, "
			"or ask on the controller's socket",
			role_name(x->route->roles));
	return exchange_fail(x, 403, "this is for %s, and not for %s '%s'",
		role_name(x->route->roles), c->kind == CALLER_NODE ? "node" : "user", c->name);
}

static int check_value(const struct route_query *q, const char *value, struct error *err)
{
	uint64_t number;
	bool is;

	switch (q->type) {
	case QUERY_NUMBER:
		return parse_number(value, 0, INT64_MAX, &number, err);
	case QUERY_BOOL:
		return parse_bool(value, &is, err);
	case QUERY_TIME:
		return timestamp_parse(value, &number) == 0
			       ? 0
			       : fail(err, -EINVAL,
					 "'%s' is not a time; write it as 2026-11-21T17:51:00Z",
					 value);
	case QUERY_TEXT:
		break;
	}
	return 0;
}

static int check_query(struct exchange *x, const char *name, const char *value)
{
	const struct route *r = x->route;
	struct nearest nearest = {.word = name};
	struct error err = {0};

	for (const struct route_query *q = r->queries; q && q->name; q++) {
		if (streq(q->name, name))
			return check_value(q, value, &err) == 0
				       ? 0
				       : exchange_fail(x, 400, "?%s: %s", name, err.text);
		nearest_offer(&nearest, q->name);
	}
	/* Of its pages and filters, a listing says itself what is wrong. */
	if (r->listing && !r->one)
		return 0;
	return nearest_get(&nearest)
		       ? exchange_fail(x, 400, "there is no ?%s here; did you mean ?%s", name,
				 nearest_get(&nearest))
		       : exchange_fail(x, 400,
				 "there is no ?%s here; /v1/openapi.json has what there is", name);
}

int route_check_query(struct exchange *x)
{
	const char *name;
	json_t *value;
	int status;

	json_object_foreach(x->query, name, value)
	{
		status = check_query(x, name, json_string_value(value));
		if (status > 0)
			return status;
	}
	return 0;
}
