#include "controller/rights.h"

#include <errno.h>
#include <stdio.h>

#include "lib/path.h"

#define ROLES_MAX 100000 /* host groups of one caller: more is a mistake */

static const struct {
	const char *word;
	unsigned int role, roles; /* the bit that it stands for, and what it brings */
} words[] = {
	{"user", ROLE_USER, ROLE_USER},
	{"endorser", ROLE_ENDORSER, ROLE_ENDORSER},
	{"administrator", ROLE_ADMINISTRATOR, ROLE_ADMINISTRATOR | ROLE_GROUP_ADMIN},
};

unsigned int rights_parse(const char *text)
{
	unsigned int roles = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			if (strlen(words[i].word) == n && strncmp(words[i].word, text, n) == 0)
				roles |= words[i].role;
		text += n + strspn(text + n, " ");
	}
	return roles;
}

const char *rights_format(unsigned int roles, char text[RIGHTS_WORDS_MAX])
{
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (roles & words[i].role)
			n += (size_t)snprintf(text + n, RIGHTS_WORDS_MAX - n, "%s%s", n ? " " : "",
				words[i].word);
	return text;
}

static bool is_listed(char *const *list, const struct account *account)
{
	for (; account && list && *list; list++)
		if (account_is(account, *list))
			return true;
	return false;
}

static int add_group(struct caller *c, const char *group)
{
	size_t n = 0;
	char **longer;

	while (c->groups && c->groups[n])
		if (streq(c->groups[n++], group))
			return 0;
	longer = n < ROLES_MAX ? reallocarray(c->groups, n + 2, sizeof(*longer)) : NULL;
	if (!longer)
		return -ENOMEM;
	c->groups = longer;
	longer[n] = strdup(group);
	longer[n + 1] = NULL;
	return longer[n] ? 0 : -ENOMEM;
}

/* Is the subject of a role, "user:NAME" or "group:NAME", this user? */
static bool is_subject(const char *subject, const struct caller *c, const struct account *account)
{
	const char *user = str_after(subject, "user:"), *group = str_after(subject, "group:");

	if (user)
		return streq(user, c->name);
	for (size_t i = 0; group && account && i < account->groups.count; i++)
		if (streq(account->groups.items[i], group))
			return true;
	return false;
}

static int add_role(struct caller *c, const char *role, const char *hostgroup)
{
	if (streq(role, "endorser"))
		c->roles |= ROLE_ENDORSER;
	else if (streq(role, "administrator") && !*hostgroup)
		c->roles |= ROLE_ADMINISTRATOR | ROLE_GROUP_ADMIN;
	else if (streq(role, "administrator")) {
		c->roles |= ROLE_GROUP_ADMIN;
		return add_group(c, hostgroup);
	}
	return 0;
}

static int load_roles(
	struct sql *db, const struct account *account, struct caller *c, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	autofree char *subject = path_format("user:%s", c->name);
	int r = subject ? sql_select(db, err, &rows,
				  "SELECT subject, role, hostgroup FROM role WHERE subject = ?1"
				  " OR substr(subject, 1, 6) = 'group:'",
				  sql_text(subject))
			: fail(err, -ENOMEM, "out of memory");

	while (r == 0 && (r = sql_rows_next(rows, err)) > 0) {
		r = 0;
		if (is_subject(sql_rows_text(rows, 0), c, account))
			r = add_role(c, sql_rows_text(rows, 1), sql_rows_text(rows, 2));
		if (r < 0)
			return fail(err, r, "out of memory");
	}
	return r;
}

int rights_load(struct sql *db, const struct controller_settings *settings,
	const struct account *account, struct caller *c, struct error *err)
{
	c->roles |= ROLE_ANYONE | ROLE_USER;
	if (is_listed(settings->administrators, account))
		c->roles |= ROLE_ADMINISTRATOR | ROLE_GROUP_ADMIN;
	if (is_listed(settings->endorsers, account))
		c->roles |= ROLE_ENDORSER;
	return db ? load_roles(db, account, c, err) : 0;
}

/* The host groups are left to it alone that the token is for. */
static void keep_group(struct caller *c, const char *hostgroup)
{
	bool has = hostgroup && caller_administers(c, hostgroup);

	for (char **g = c->groups; g && *g; g++)
		free(*g);
	free(c->groups);
	c->groups = NULL;
	c->roles &= ~(unsigned int)(ROLE_ADMINISTRATOR | ROLE_GROUP_ADMIN);
	if (has && add_group(c, hostgroup) == 0)
		c->roles |= ROLE_GROUP_ADMIN;
}

void rights_limit(struct caller *c, const char *text, const char *hostgroup)
{
	unsigned int kept = ROLE_ANYONE, given = rights_parse(text);

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (given & words[i].role)
			kept |= words[i].roles;
	if (!(kept & ROLE_ADMINISTRATOR))
		keep_group(c, NULL);
	else if (*hostgroup)
		keep_group(c, hostgroup);
	c->roles &= kept;
}
