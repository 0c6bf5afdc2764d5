#include "cli/vm.h"

#include <errno.h>

#include "engine/attach.h"
#include "engine/rundir.h"

int vm_connect(const char *name, struct error *err)
{
	autofree char *socket = NULL;
	int r = rundir_find(name, &socket, err);

	return r < 0 ? r : attach_open(socket, err);
}

int vm_ask(const char *name, json_t **ret, struct error *err)
{
	autoclose int fd = vm_connect(name, err);
	json_t *answer = NULL;
	int r = fd < 0 ? fd : attach_call(fd, "show", &answer, NULL, err);

	if (r < 0)
		return r;
	*ret = json_incref(json_object_get(answer, "vm"));
	json_decref(answer);
	return *ret ? 0 : fail(err, -EPROTO, "the VM '%s' did not say what it is", name);
}
