/* Which host directories a VM sees, and where: what the user asked for, and the defaults. */
#pragma once

#include "engine/caller.h"
#include "engine/sharing.h"
#include "vm/spec.h"

struct share_list {
	struct vm_share items[VM_SHARES_MAX];
	size_t count;
	const struct gateway *usual; /* of shares that name none; NULL: the best one that there is
				      */
};

void share_list_done(struct share_list *list);

/* How --mount is written, for help and messages. */
#define SHARE_SYNTAX "HOST[:GUEST][:ro][:gateway=NAME]"

/* The parts of a share as people write it. */
struct share_text {
	char *source;
	char *target, *gateway; /* NULL: not given */
	bool read_only;
};

/* Cuts "HOST[:GUEST][:ro|:rw][:gateway=NAME]" in place at its colons: the parts point into `text`.
 * Looks at the text alone. Returns 0 or -EINVAL. */
int share_split(char *text, struct share_text *ret, struct error *err);

/* Adds a share as people write it (--mount). A relative HOST is taken from the current directory.
 * The directory must be there and readable. Returns 0 or negative errno with what to do. */
int share_add(struct share_list *list, const char *text, struct error *err);

/* Adds the current directory and the home directory at their own paths, where nothing covers them
 * yet and where a mount would not hide the guest's own system ("/", "/usr", "/etc", ...).
 * Returns 0 or negative errno. */
int share_add_defaults(struct share_list *list, const struct caller *caller, struct error *err);

/* Does the site let this user's VM have the shares from number `first` on? Those that it lets be
 * read only become so. One that it does not is dropped where nobody has asked for it (`asked`),
 * else this fails with -EACCES and the reason. */
int share_restrict(struct share_list *list, size_t first, const struct sharing *sharing,
	const struct caller *caller, bool asked, struct error *err);

/* Sorts so that a directory is mounted before what lies in it. */
void share_sort(struct share_list *list);

/* The guest path under which the host path `path` is seen, or NULL if it is not; the caller frees.
 */
char *share_translate(const struct share_list *list, const char *path);
