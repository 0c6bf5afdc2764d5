#include "vm/quote.h"

char *quote_option(const char *value)
{
	char *quoted = malloc(2 * strlen(value) + 1);
	char *to = quoted;

	if (!quoted)
		return NULL;
	for (const char *from = value; *from; from++) {
		if (*from == ',')
			*to++ = ',';
		*to++ = *from;
	}
	*to = '\0';
	return quoted;
}
