/* The text of --mount. A file of its own, so that who only checks what was typed links nothing
 * else. */
#include <errno.h>

#include "engine/share.h"

int share_split(
	char *text, char **ret_source, char **ret_target, bool *ret_read_only, struct error *err)
{
	char *rest = text, *part;

	*ret_source = strsep(&rest, ":");
	*ret_target = NULL;
	*ret_read_only = false;
	while ((part = strsep(&rest, ":"))) {
		if (streq(part, "ro") || streq(part, "rw"))
			*ret_read_only = streq(part, "ro");
		else if (!*ret_target && part[0] == '/')
			*ret_target = part;
		else
			return fail(err, -EINVAL,
				"'%s' is no absolute path in the VM, 'ro' or 'rw'; write "
				"HOST[:GUEST][:ro]",
				part);
	}
	if ((*ret_source)[0] == '\0')
		return fail(err, -EINVAL, "no directory given; write HOST[:GUEST][:ro]");
	return 0;
}
