#include "courier/delta.h"

struct delta {
	json_t *known;   /* id: the VM as the site has it */
	json_t *pending; /* the same with what was made last */
	bool more;
};

struct delta *delta_new(void)
{
	struct delta *d = calloc(1, sizeof(*d));

	if (d)
		d->known = json_object();
	return d && d->known ? d : delta_free(d);
}

struct delta *delta_free(struct delta *d)
{
	if (!d)
		return NULL;
	json_decref(d->known);
	json_decref(d->pending);
	free(d);
	return NULL;
}

static const char *id_of(const json_t *vm)
{
	return json_string_value(json_object_get(vm, "id"));
}

static void find_new(struct delta *d, json_t *vms, json_t *ret)
{
	json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm)
	{
		const char *id = id_of(vm);

		if (!id || json_equal(json_object_get(d->pending, id), vm))
			continue;
		if (json_array_size(ret) >= DELTA_MAX) {
			d->more = true;
			return;
		}
		json_array_append(ret, vm);
		json_object_set(d->pending, id, vm);
	}
}

static void find_gone(struct delta *d, json_t *vms, json_t *ret)
{
	json_t *there = json_object(), *vm;
	const char *id;
	void *next;
	size_t i;

	json_array_foreach(vms, i, vm) if (id_of(vm))
		json_object_set_new(there, id_of(vm), json_true());
	json_object_foreach_safe(d->pending, next, id, vm)
	{
		if (json_object_get(there, id))
			continue;
		if (json_array_size(ret) >= DELTA_MAX) {
			d->more = true;
			break;
		}
		json_array_append_new(ret, json_string(id));
		json_object_del(d->pending, id);
	}
	json_decref(there);
}

void delta_make(struct delta *d, json_t *vms, bool full, json_t **ret_vms, json_t **ret_gone)
{
	json_decref(d->pending);
	d->more = false;
	/* With a full one the site forgets all others. */
	d->pending = full ? json_object() : json_copy(d->known);
	*ret_vms = json_array();
	*ret_gone = json_array();
	find_gone(d, vms, *ret_gone);
	find_new(d, vms, *ret_vms);
}

void delta_commit(struct delta *d)
{
	if (!d->pending)
		return;
	json_decref(d->known);
	d->known = TAKE_PTR(d->pending);
}

bool delta_has_more(const struct delta *d)
{
	return d->more;
}
