#include "lib/uuid.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

/* The bytes between the dashes. */
static const size_t groups[] = {4, 2, 2, 2, 6};

/* Version 4, variant 1: RFC 4122, section 4.4. */
int uuid_make(uint8_t ret[16])
{
	if (getrandom(ret, 16, 0) != 16)
		return -errno;
	ret[6] = (uint8_t)((ret[6] & 0x0f) | 0x40);
	ret[8] = (uint8_t)((ret[8] & 0x3f) | 0x80);
	return 0;
}

int uuid_new(char ret[UUID_TEXT_SIZE])
{
	uint8_t uuid[16], *byte = uuid;
	int r = uuid_make(uuid);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		for (size_t n = 0; n < groups[i]; n++, ret += 2)
			snprintf(ret, 3, "%02x", *byte++);
		*ret++ = i + 1 < ARRAY_SIZE(groups) ? '-' : '\0';
	}
	return 0;
}

bool uuid_is_text(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		if (strspn(text, "0123456789abcdef") != 2 * groups[i])
			return false;
		text += 2 * groups[i];
		if (*text++ != (i + 1 < ARRAY_SIZE(groups) ? '-' : '\0'))
			return false;
	}
	return true;
}
