/* Who asks for a VM: the account and the surroundings that the command will find again inside. */
#pragma once

#include <sys/resource.h>

#include "lib/error.h"
#include "lib/message.h"
#include "lib/strv.h"

#define CALLER_GROUPS_MAX \
	256 /* what the agent protocol and ext4 ACL-free sites need; Linux: 65536 */

struct caller {
	uid_t uid;
	gid_t gid;
	char *name, *gecos, *home, *shell, *group;
	gid_t gids[CALLER_GROUPS_MAX]; /* supplementary */
	char *group_names[CALLER_GROUPS_MAX + 1];
	size_t gid_count;
	mode_t umask;
	char *directory; /* current one; NULL if it cannot be told */
	uint32_t limits[RLIM_NLIMITS * 3];
	size_t limit_count; /* numbers in `limits`, as exec_request.limits */
};

/* Looks at the calling process. A uid without an account entry is named "uid<N>" with "/" as home.
 * Returns 0 or negative errno. */
int caller_load(struct caller *ret, struct error *err);
void caller_done(struct caller *c);

/* Fills the protocol's account; it points into `c`. */
void caller_fill_account(const struct caller *c, struct account *ret);

/* Fills who an exec request runs as, its groups, umask and limits; it points into `c`. */
void caller_fill_exec(const struct caller *c, struct exec_request *ret);

/* The environment that a command starts with: HOME, USER, LOGNAME, SHELL, PATH, and from our own
 * environment the language, the time zone, and (with a terminal) TERM. */
void caller_fill_env(const struct caller *c, bool tty, struct strv *ret);
