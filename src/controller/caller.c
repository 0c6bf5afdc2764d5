#include "controller/caller.h"

bool caller_administers(const struct caller *c, const char *group)
{
	if (c->roles & ROLE_ADMINISTRATOR)
		return true;
	for (char **g = c->groups; group && g && *g; g++)
		if (streq(*g, group))
			return true;
	return false;
}

void caller_done(struct caller *c)
{
	for (char **g = c->groups; g && *g; g++)
		free(*g);
	free(c->groups);
	*c = (struct caller){0};
}
