#include "controller/configuration_fit.h"

#include <errno.h>
#include <stdio.h>

#include "controller/configuration_text.h"

/* Joining adds at most the end of each text's last line. */
#define SURELY_MAX (CONFIGURATION_TEXT_MAX - CONFIGURATION_SCOPES)

/* The texts of one node, or of all of a group that have none of their own. */
struct set {
	const char *scopes[CONFIGURATION_SCOPES], *texts[CONFIGURATION_SCOPES];
};

static size_t size_of(const struct set *s, int scope)
{
	return s->texts[scope] ? strlen(s->texts[scope]) : 0;
}

static int tell(const struct set *s, size_t size, struct error *err)
{
	char parts[ERROR_TEXT_MAX / 2] = "";
	size_t n = 0;

	for (int i = 0; i < CONFIGURATION_SCOPES; i++)
		if (size_of(s, i) > 0 && n < sizeof(parts))
			n += (size_t)snprintf(parts + n, sizeof(parts) - n, "%s'%s' has %zu",
				n ? ", " : "", s->scopes[i], size_of(s, i));
	fail(err, -EFBIG,
		"together they would be %zu bytes, and a node takes %d: %s; shorten one of them",
		size, CONFIGURATION_TEXT_MAX, parts);
	return 0;
}

/* Returns 1, 0 with the reason, or negative errno. */
static int fits(const struct set *s, struct error *err)
{
	autofree char *joined = NULL;
	size_t size = 0;

	for (int i = 0; i < CONFIGURATION_SCOPES; i++)
		size += size_of(s, i);
	if (size <= SURELY_MAX)
		return 1;
	if (configuration_merge(s->texts, &joined, err) < 0)
		return -ENOMEM;
	return strlen(joined) <= CONFIGURATION_TEXT_MAX ? 1 : tell(s, strlen(joined), err);
}

/* As it is now; NULL: there is none. */
static int read_site(struct sql *db, char **ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(db, err, &rows, "SELECT text FROM configuration WHERE scope = 'site'");

	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	*ret = strdup(sql_rows_text(rows, 0));
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}

/* All groups, and all nodes that have a text of their own or are to have one, as far as the scope
 * is theirs. */
static int select_sets(struct sql *db, const char *scope, struct sql_rows **ret, struct error *err)
{
	return sql_select(db, err, ret,
		"SELECT 'group:' || hostgroup.name, of_group.text, '', NULL FROM hostgroup"
		" LEFT JOIN configuration AS of_group"
		" ON of_group.scope = 'group:' || hostgroup.name"
		" WHERE ?1 IN ('site', 'group:' || hostgroup.name)"
		" UNION ALL SELECT 'group:' || node.hostgroup, of_group.text,"
		" 'node:' || node.name, of_node.text FROM node"
		" LEFT JOIN configuration AS of_group"
		" ON of_group.scope = 'group:' || node.hostgroup"
		" LEFT JOIN configuration AS of_node ON of_node.scope = 'node:' || node.name"
		" WHERE (of_node.text IS NOT NULL OR ?1 = 'node:' || node.name)"
		" AND ?1 IN ('site', 'group:' || node.hostgroup, 'node:' || node.name)",
		sql_text(scope));
}

int configuration_fits(struct sql *db, const char *scope, const char *text, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	autofree char *site = NULL;
	struct set set = {.scopes = {"site"}};
	int r = read_site(db, &site, err), more;

	if (r < 0)
		return r;
	set.texts[0] = streq(scope, "site") ? text : site;
	r = fits(&set, err);
	more = r > 0 ? select_sets(db, scope, &rows, err) : r;
	if (more < 0)
		return more;
	while (r > 0 && (more = sql_rows_next(rows, err)) > 0) {
		for (int i = 1; i < CONFIGURATION_SCOPES; i++) {
			set.scopes[i] = sql_rows_text(rows, 2 * i - 2);
			set.texts[i] =
				streq(scope, set.scopes[i]) ? text : sql_rows_text(rows, 2 * i - 1);
		}
		r = fits(&set, err);
	}
	return more < 0 ? more : r;
}
