#include "engine/request.h"

#include <errno.h>
#include <fnmatch.h>

extern char **environ;

void request_done(struct request *r)
{
	share_list_done(&r->shares);
	volume_list_done(&r->volumes);
	strv_done(&r->env);
	free(r->workdir);
}

/* Splits an "NAME=value" entry; returns the value and a fresh copy of the name. */
static const char *split_entry(const char *entry, char **ret_name)
{
	const char *equals = strchr(entry, '=');

	if (!equals)
		return NULL;
	*ret_name = strndup(entry, (size_t)(equals - entry));
	return *ret_name ? equals + 1 : NULL;
}

static void copy_matching(struct request *r, const char *pattern)
{
	for (char **entry = environ; *entry; entry++) {
		autofree char *name = NULL;
		const char *value = split_entry(*entry, &name);

		if (value && fnmatch(pattern, name, 0) == 0)
			strv_env_set(&r->env, name, value);
	}
}

int request_add_env(struct request *r, const char *text, struct error *err)
{
	autofree char *name = NULL;
	const char *value = split_entry(text, &name);

	if (request_check_env(text, err) < 0) {
		fail_within(err, "--env");
		return -EINVAL;
	}
	if (value)
		strv_env_set(&r->env, name, value);
	else
		copy_matching(r, text);
	return r->env.failed ? fail(err, -ENOMEM, "out of memory") : 0;
}
