/* Which directories of the host the site lets VMs have, to read only or not, and whose: the
 * sections
 * "[share NAME]" of the system's wnodes.conf. Without any, a user's VM may have whatever the user
 * can reach. */
#pragma once

#include "lib/conf.h"

struct sharing_rule {
	char *path; /* absolute: the directory and all below it */
	char *access;
	char **users; /* names, and @groups; none: all */
};

struct sharing {
	struct conf_list list; /* of struct sharing_rule */
};

/* For the example file and the manual page; without items. */
extern const struct conf_list share_section, share_section_refused;

/* Checks what no single line can tell. Returns 0 or -EINVAL with "FILE:LINE: ..." in the message.
 */
int sharing_check(const struct sharing *s, const char *path, struct error *err);

/* Those of two files, which need not be there: what `path` says stands for what `pushed` says of
 * the same name. Returns 0 or negative errno; `ret` is then empty. */
int sharing_load(struct sharing *ret, const char *pushed, const char *path, struct error *err);
void sharing_done(struct sharing *s);

/* Whose VM it is. */
struct sharing_subject {
	uid_t uid; /* root's VMs have what root says */
	const char *user;
	const char *const *groups; /* names, NULL-terminated */
};

/* May this VM have the directory? `path` is absolute and has no symbolic links any more. Of the
 * rules that cover it the one with the longest path decides. Returns 1 if to read only, 0 if also
 * to write, or -EACCES with the reason. */
int sharing_decide(const struct sharing *s, const struct sharing_subject *subject, const char *path,
	struct error *err);
