#include "engine/membership.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

/* Where most are in fewer groups; Linux allows 65536. */
#define GROUPS_USUAL 64
#define GROUPS_MAX   65536

static int add_names(const gid_t *gids, int count, struct strv *ret, struct error *err)
{
	for (int i = 0; i < count; i++) {
		const struct group *group = getgrgid(gids[i]);

		if (group)
			strv_add(ret, group->gr_name);
		else
			strv_add_format(ret, "gid%u", gids[i]);
	}
	return ret->failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

int membership_load(const char *user, struct strv *ret, struct error *err)
{
	const struct passwd *pw = getpwnam(user);
	autofree gid_t *gids = NULL;
	int room = GROUPS_USUAL, count;
	gid_t primary;

	if (!pw)
		return fail(err, -ENOENT, "the account database has no user '%s'", user);
	primary = pw->pw_gid;
	do {
		gid_t *grown = reallocarray(gids, (size_t)room, sizeof(*gids));

		if (!grown)
			return fail(err, -ENOMEM, "out of memory");
		gids = grown;
		count = room;
		if (getgrouplist(user, primary, gids, &count) >= 0)
			return add_names(gids, count, ret, err);
		room *= 2;
	} while (room <= GROUPS_MAX);
	return fail(err, -E2BIG, "'%s' is in more than %d groups", user, GROUPS_MAX);
}
