#include "engine/resources.h"

#include <errno.h>

#include "engine/broker.h"

/* Where descriptors go, by the names that the daemon gives them. */
static int *find_member(struct resources *r, const char *name)
{
	const struct {
		const char *name;
		int *fd;
	} members[] = {{"disk", &r->disk_fd}, {"kernel", &r->kernel_fd}, {"initrd", &r->initrd_fd},
		{"seed", &r->seed_fd}, {"overlay", &r->overlay_fd}, {"scratch", &r->scratch_fd},
		{"root", &r->disk_fd}};

	for (size_t i = 0; name && i < ARRAY_SIZE(members); i++)
		if (streq(members[i].name, name) && *members[i].fd < 0)
			return members[i].fd;
	return NULL;
}

/* Those of which there may be many. */
static bool take_card_descriptor(struct resources *r, const char *name, int fd)
{
	if (name && streq(name, "tap"))
		return vm_tap_add(&r->tap, fd);
	return name && streq(name, "vhost") && vm_tap_add_vhost(&r->tap, fd);
}

void resources_take(struct resources *r, json_t *names, int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *name = json_string_value(json_array_get(names, i));
		int *member = find_member(r, name);

		if (take_card_descriptor(r, name, fds[i]))
			fds[i] = -1;
		else if (member)
			*member = TAKE_FD(fds[i]);
	}
	if (r->tap.vhost_count != r->tap.count)
		vm_tap_drop_vhost(&r->tap);
}

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
