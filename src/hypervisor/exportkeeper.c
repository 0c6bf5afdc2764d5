#include "hypervisor/exportkeeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include "hypervisor/keeper.h"
#include "hypervisor/rights.h"
#include "lib/file.h"
#include "lib/path.h"
#include "storage/export.h"

#define OWN_MOUNTS  "/proc/self/ns/mnt"
#define HOST_MOUNTS "/proc/1/ns/mnt"

static int on_add(void *userdata, const struct keeper_call *c, struct error *err)
{
	const struct export e = {.name = c->name,
		.fd = c->fd,
		.uid = (uid_t)keeper_number(c, "uid"),
		.gid = (gid_t)keeper_number(c, "gid"),
		.read_only = keeper_is_set(c, "read_only")};

	return export_add(&e, err);
}

static int on_remove(void *userdata, const struct keeper_call *c, struct error *err)
{
	return export_remove(c->name, err);
}

static int on_list(void *userdata, const struct keeper_call *c, struct error *err)
{
	struct strv names AUTO(strv_done) = {0};
	json_t *list = json_array();
	int r = export_list(&names, err);

	for (size_t i = 0; i < names.count; i++)
		json_array_append_new(list, json_string(names.items[i]));
	json_object_set_new(c->answer, "names", list);
	return r;
}

static const struct keeper_op ops[] = {
	{"add", on_add, true},
	{"remove", on_remove, true},
	{"list", on_list, false},
	{NULL, NULL, false},
};

static bool name_is_valid(const char *name)
{
	struct in_addr address;
	char vm[UUID_TEXT_SIZE];

	return export_parse_name(name, &address, vm) == 0;
}

/* A service has mounts of its own, of which the NFS server sees nothing; and what users have open
 * can be mounted only where they have it. */
static int enter_host(struct error *err)
{
	autoclose int fd = open(HOST_MOUNTS, O_RDONLY | O_CLOEXEC);
	struct stat own, host;

	if (fd < 0 || fstat(fd, &host) < 0 || stat(OWN_MOUNTS, &own) < 0)
		return fail_errno(err, -errno, "cannot look at the host's mounts");
	if (own.st_ino == host.st_ino && own.st_dev == host.st_dev)
		return 0;
	return setns(fd, CLONE_NEWNS) < 0
		       ? fail_errno(err, -errno, "cannot enter the host's mounts")
		       : 0;
}

static int drop_rights(void *userdata, struct error *err)
{
	int r = enter_host(err);

	if (r == 0)
		r = rights_drop_to_exports(err);
	return r < 0 ? fail_within(err,
			       "directories cannot be served by NFS: it needs more rights than the "
			       "service has (examples/systemd/nfs.conf)")
		     : 0;
}

int exportkeeper_start(
	const struct settings *settings, const char *state, int *ret_fd, struct error *err)
{
	autofree char *lock = path_format("%s/exports.lock", state);
	const struct keeper_spec spec = {.name = "wnodes-exports",
		.open = drop_rights,
		.lock = lock,
		.name_is_valid = name_is_valid,
		.ops = ops};

	if (!settings->node_nfs)
		return 0;
	if (!lock)
		return fail(err, -ENOMEM, "out of memory");
	file_make_dirs(state, 0755);
	*ret_fd = keeper_start(&spec, err);
	return *ret_fd < 0 ? *ret_fd : 1;
}
