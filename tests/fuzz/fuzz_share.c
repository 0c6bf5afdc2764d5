/* The text of --mount, as people and policies write it. */
#include <assert.h>
#include <errno.h>

#include "engine/settings.h"
#include "engine/share.h"
#include "vm/gateway.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autofree char *text = strndup((const char *)data, size);
	struct share_text parts;
	struct error err = {0};
	size_t length;
	int r;

	assert(text);
	length = strlen(text);
	r = share_split(text, &parts, &err);
	assert(r == 0 || (r == -EINVAL && err.text[0]));
	if (r < 0)
		return 0;
	assert(parts.source == text && parts.source[0] && strlen(parts.source) <= length);
	assert(!parts.target ||
		(parts.target[0] == '/' && parts.target > text && parts.target < text + length));
	assert(!parts.gateway || streq(parts.gateway, "auto") || gateway_find(parts.gateway));
	return 0;
}
