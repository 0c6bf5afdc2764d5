#include "engine/resources.h"

#include <errno.h>

#include "engine/broker.h"

int resources_open(sd_event *event, const struct request *request, struct resources *ret,
	resources_fn done, void *userdata, struct error *err)
{
	int r = request->parts || streq(request->settings->broker, "none")
			? -ENOENT
			: broker_open(event, request, ret, done, userdata, err);

	if (r == -ENOENT && request->volumes.count > 0)
		return fail(err, -EHOSTDOWN,
			"a volume is the site's, and is lent by the node's daemon, wnodes-hypervisor, "
			"which does not run here ([vm] broker = %s)",
			request->settings->broker);
	return r == -ENOENT ? local_open(request, ret, err) : r;
}

void resources_close(struct resources *r)
{
	struct broker *broker = TAKE_PTR(r->broker);

	local_close(r);
	broker_free(broker);
}
