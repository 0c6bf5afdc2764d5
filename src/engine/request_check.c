/* The text of --env. A file of its own, so that who only checks what was typed links nothing else.
 */
#include <errno.h>

#include "engine/request.h"

int request_check_env(const char *text, struct error *err)
{
	if (text[0] == '\0' || text[0] == '=')
		return fail(err, -EINVAL, "'%s' has no name; write NAME or NAME=VALUE", text);
	return 0;
}
