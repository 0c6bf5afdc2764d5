#include "hypervisor/node.h"

#include "config.h"
#include "hypervisor/client.h"
#include "hypervisor/cloud.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/images.h"
#include "hypervisor/liaison.h"
#include "hypervisor/listener.h"
#include "hypervisor/volumes.h"

#define MIB UINT64_C(1048576)

/* An answer must fit into a packet. */
#define NODE_VMS_MAX 500

struct listing {
	json_t *vms;
	uid_t uid;
	bool all;
};

static void add_vm(struct client *c, void *userdata)
{
	struct listing *l = userdata;
	json_t *vm = (l->all || client_uid(c) == l->uid) && json_array_size(l->vms) < NODE_VMS_MAX
			     ? client_to_json(c)
			     : NULL;

	if (vm)
		json_array_append_new(l->vms, vm);
}

static json_t *limits_to_json(const struct settings *s)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "vms", (json_int_t)s->node_vms,
		"memory_bytes", (json_int_t)s->node_memory, "user_vms",
		(json_int_t)s->node_user_vms, "user_memory_bytes", (json_int_t)s->node_user_memory,
		"image_vms", (json_int_t)s->node_image_vms);
}

json_t *node_status_to_json(const struct hypervisor *h)
{
	struct slots_usage slots;
	struct shelf_usage shelf;

	slots_get_usage(h->slots, &slots);
	shelf_get_usage(h->shelf, &shelf);
	return json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:b, s:o*, s:o*, s:o*, s:o*}",
		"version", WNODES_VERSION, "drain", drain_to_json(h->drain), "limits",
		limits_to_json(&h->settings), "vms", (json_int_t)slots.vms, "memory_bytes",
		(json_int_t)slots.memory_mib * (json_int_t)MIB, "waiting",
		(json_int_t)slots.waiting, "templates", (json_int_t)shelf.templates,
		"template_memory_bytes", (json_int_t)shelf.memory_bytes, "making_template",
		maker_is_busy(h->maker), "site", liaison_to_json(h->liaison), "volumes",
		volumes_to_json(h->volumes), "nfs", exports_to_json(h->exports), "cloud_volumes",
		cloud_to_json(h->cloud));
}

json_t *node_to_json(const struct hypervisor *h, uid_t uid)
{
	struct listing listing = {
		.vms = json_array(), .uid = uid, .all = hypervisor_is_administrator(h, uid)};
	json_t *node = node_status_to_json(h);

	json_t *images = images_to_json(h, uid, listing.all);

	if (images)
		json_object_set_new(node, "images", images);
	listener_each(h->listener, add_vm, &listing);
	if (json_object_set_new(node, "vm_list", listing.vms) == 0)
		return node;
	json_decref(node);
	return NULL;
}
