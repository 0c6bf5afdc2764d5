/* The text of --volume. A file of its own, so that who only checks what was typed links nothing
 * else. */
#include <errno.h>

#include "engine/volume.h"

int volume_split(char *text, struct volume_text *ret, struct error *err)
{
	char *rest = text, *part;

	*ret = (struct volume_text){.name = strsep(&rest, ":")};
	while ((part = strsep(&rest, ":"))) {
		if (streq(part, "ro") || streq(part, "rw"))
			ret->read_only = streq(part, "ro");
		else if (!ret->target && part[0] == '/')
			ret->target = part;
		else
			return fail(err, -EINVAL,
				"'%s' is no absolute path in the VM, nor 'ro'; write " VOLUME_SYNTAX,
				part);
	}
	return ret->name[0] ? 0 : fail(err, -EINVAL, "no volume given; write " VOLUME_SYNTAX);
}
