#include "controller/body.h"

#include <ctype.h>

int body_parse(struct exchange *x, void *ret)
{
	struct error err = {0};

	if (fields_parse(x->route->body, x->body, ret, &err) == 0)
		return 0;
	return exchange_fail(x, 400, "the request's body is wrong: %s", err.text);
}

int body_check_name(struct exchange *x, const char *noun, const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n = strlen(name);

	if (n > 0 && n < BODY_NAME_MAX && strspn(name, allowed) == n && !strchr("._-", name[0]))
		return 0;
	return exchange_fail(x, 400,
		"'%.64s' is no name of a %s; take 1 to %d of a-z, 0-9, '.', '_' and '-', a letter or "
		"digit first",
		name, noun, BODY_NAME_MAX - 1);
}

bool body_is_line(const char *text, size_t max)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (iscntrl((unsigned char)text[i]))
			return false;
	return n > 0 && n <= max;
}
