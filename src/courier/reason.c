#include "courier/reason.h"

#include <stdio.h>

json_t *reason_to_json(const char *text, const char *otherwise)
{
	char cut[REASON_MAX + 1];
	json_t *json;

	snprintf(cut, sizeof(cut), "%s", text && text[0] ? text : otherwise);
	json = json_string(cut);
	if (json)
		return json;
	for (char *c = cut; *c; c++)
		*c = *c & 0x80 ? '?' : *c;
	return json_string(cut);
}
