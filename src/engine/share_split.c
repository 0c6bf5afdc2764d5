/* The text of --mount. A file of its own, so that who only checks what was typed links nothing
 * else. */
#include <errno.h>

#include "engine/settings.h"
#include "engine/share.h"
#include "lib/parse.h"

static int share_split_part(char *part, struct share_text *ret, struct error *err)
{
	const char *gateway = str_after(part, "gateway=");

	if (gateway) {
		if (parse_choice(gateway, SETTINGS_GATEWAYS, err) < 0)
			return fail_within(err, "gateway");
		ret->gateway = part + strlen("gateway=");
	} else if (streq(part, "ro") || streq(part, "rw")) {
		ret->read_only = streq(part, "ro");
	} else if (!ret->target && part[0] == '/') {
		ret->target = part;
	} else {
		return fail(err, -EINVAL,
			"'%s' is no absolute path in the VM, 'ro', 'rw' or 'gateway=...'; "
			"write " SHARE_SYNTAX,
			part);
	}
	return 0;
}

int share_split(char *text, struct share_text *ret, struct error *err)
{
	char *rest = text, *part;
	int r = 0;

	*ret = (struct share_text){.source = strsep(&rest, ":")};
	while (r == 0 && (part = strsep(&rest, ":")))
		r = share_split_part(part, ret, err);
	if (r == 0 && ret->source[0] == '\0')
		r = fail(err, -EINVAL, "no directory given; write " SHARE_SYNTAX);
	return r;
}
