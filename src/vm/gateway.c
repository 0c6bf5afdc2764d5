#include "vm/gateway.h"

static const struct gateway *const gateways[] = {&gateway_9p};

const struct gateway *gateway_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(gateways); i++)
		if (streq(gateways[i]->name, name))
			return gateways[i];
	return NULL;
}
