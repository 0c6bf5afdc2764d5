#include "vm/tap.h"

#include "lib/base.h"

static bool add(int *fds, size_t *count, int fd)
{
	if (*count == VM_QUEUES_MAX || fd < 0)
		return false;
	fds[(*count)++] = fd;
	return true;
}

static void keep(int *fds, size_t *count, size_t kept)
{
	while (*count > kept)
		base_close(fds[--*count]);
}

bool vm_tap_add(struct vm_tap *tap, int fd)
{
	return add(tap->fds, &tap->count, fd);
}

bool vm_tap_add_vhost(struct vm_tap *tap, int fd)
{
	return add(tap->vhost_fds, &tap->vhost_count, fd);
}

void vm_tap_drop_vhost(struct vm_tap *tap)
{
	keep(tap->vhost_fds, &tap->vhost_count, 0);
}

void vm_tap_keep_first(struct vm_tap *tap)
{
	vm_tap_drop_vhost(tap);
	keep(tap->fds, &tap->count, 1);
}

void vm_tap_done(struct vm_tap *tap)
{
	vm_tap_drop_vhost(tap);
	keep(tap->fds, &tap->count, 0);
}
