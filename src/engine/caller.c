#include "engine/caller.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include "lib/path.h"

#define GUEST_PATH "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
#define ROOT_PATH  "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* The numbers of Linux, which are the same on both sides. Limits on things of the host (processes,
 * memory, priorities) do not describe the guest and are not carried over. */
static const struct {
	int resource;
	bool in_kib;
} carried_limits[] = {
	{RLIMIT_CPU, false},
	{RLIMIT_FSIZE, true},
	{RLIMIT_STACK, true},
	{RLIMIT_CORE, true},
	{RLIMIT_NOFILE, false},
};

/* Our umask can only be read by setting it. */
static mode_t caller_umask(void)
{
	mode_t mask = umask(077);

	umask(mask);
	return mask;
}

static uint32_t limit_number(rlim_t value, bool in_kib)
{
	if (value == RLIM_INFINITY)
		return UINT32_MAX;
	value = in_kib ? value / 1024 : value;
	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static void caller_load_limits(struct caller *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(carried_limits); i++) {
		struct rlimit limit;
		bool in_kib = carried_limits[i].in_kib;

		if (getrlimit(carried_limits[i].resource, &limit) < 0)
			continue;
		c->limits[c->limit_count++] = (uint32_t)carried_limits[i].resource;
		c->limits[c->limit_count++] = limit_number(limit.rlim_cur, in_kib);
		c->limits[c->limit_count++] = limit_number(limit.rlim_max, in_kib);
	}
}

static char *group_name(gid_t gid)
{
	const struct group *group = getgrgid(gid);

	return group ? strdup(group->gr_name) : path_format("gid%u", gid);
}

static int caller_load_groups(struct caller *c, struct error *err)
{
	int n = getgroups(CALLER_GROUPS_MAX, c->gids);

	if (n < 0)
		return fail(err, -E2BIG,
			"you are in more than %d groups, which cannot be carried over",
			CALLER_GROUPS_MAX);
	c->gid_count = (size_t)n;
	for (size_t i = 0; i < c->gid_count; i++) {
		c->group_names[i] = group_name(c->gids[i]);
		if (!c->group_names[i])
			return fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static void caller_load_account(struct caller *c)
{
	const struct passwd *pw = getpwuid(c->uid);
	const char *home = getenv("HOME");

	c->name = pw ? strdup(pw->pw_name) : path_format("uid%u", c->uid);
	c->gecos = strdup(pw ? pw->pw_gecos : "");
	c->shell = strdup(pw && pw->pw_shell[0] ? pw->pw_shell : "/bin/sh");
	/* As on the host, $HOME counts, not the account's entry. */
	if (!home || home[0] != '/')
		home = pw && pw->pw_dir[0] == '/' ? pw->pw_dir : "/";
	c->home = strdup(home);
	c->group = group_name(c->gid);
}

int caller_load(struct caller *ret, struct error *err)
{
	struct caller *c = ret;
	int r;

	*c = (struct caller){.uid = getuid(), .gid = getgid(), .umask = caller_umask()};
	caller_load_account(c);
	c->directory = getcwd(NULL, 0);
	caller_load_limits(c);
	if (!c->name || !c->gecos || !c->shell || !c->home || !c->group)
		r = fail(err, -ENOMEM, "out of memory");
	else
		r = caller_load_groups(c, err);
	if (r < 0)
		caller_done(c);
	return r;
}

void caller_done(struct caller *c)
{
	free(c->name);
	free(c->gecos);
	free(c->home);
	free(c->shell);
	free(c->group);
	free(c->directory);
	for (size_t i = 0; i < c->gid_count; i++)
		free(c->group_names[i]);
	*c = (struct caller){0};
}

/* The message types do not write what they point to, but cannot say so. */
static struct message_numbers numbers(const uint32_t *values, size_t count)
{
	return (struct message_numbers){(uint32_t *)(uintptr_t)values, (uint32_t)count};
}

void caller_fill_account(const struct caller *c, struct account *ret)
{
	*ret = (struct account){
		.uid = c->uid,
		.gid = c->gid,
		.name = c->name,
		.gecos = c->gecos,
		.home = c->home,
		.shell = c->shell,
		.gids = numbers(c->gids, c->gid_count),
		.group_names = (const char **)(uintptr_t)c->group_names,
		.gid_name = c->group,
	};
}

void caller_fill_exec(const struct caller *c, struct exec_request *ret)
{
	ret->uid = c->uid;
	ret->gid = c->gid;
	ret->gids = numbers(c->gids, c->gid_count);
	ret->umask = c->umask;
	ret->limits = numbers(c->limits, c->limit_count);
}

static void copy_env(const char *name, struct strv *ret)
{
	const char *value = getenv(name);

	if (value)
		strv_env_set(ret, name, value);
}

void caller_fill_env(const struct caller *c, bool tty, struct strv *ret)
{
	static const char *const copied[] = {"LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_NUMERIC",
		"LC_TIME", "LC_COLLATE", "LC_MONETARY", "LC_MESSAGES", "TZ"};

	strv_env_set(ret, "HOME", c->home);
	strv_env_set(ret, "USER", c->name);
	strv_env_set(ret, "LOGNAME", c->name);
	strv_env_set(ret, "SHELL", c->shell);
	strv_env_set(ret, "PATH", c->uid == 0 ? ROOT_PATH : GUEST_PATH);
	for (size_t i = 0; i < ARRAY_SIZE(copied); i++)
		copy_env(copied[i], ret);
	if (tty)
		copy_env("TERM", ret);
}
