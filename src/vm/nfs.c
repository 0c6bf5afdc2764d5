/* The NFS gateway: the node's NFS server, the kernel's, serves the directory to the VM's address,
 * and the guest's kernel mounts it by the VM's network card. Nothing of ours is between them: the
 * node's daemon has it served, and ends that with the VM.
 *
 * The server believes an address. So it needs a network on which the node checks that of the VM,
 * and is never chosen by itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "vm/gateway.h"

/* A server that is dead is waited for for a minute: 20 s, and twice again. Then what asked it fails
 * with EIO, and the VM can end. Names of users are not asked for: they are numbers. */
#define NFS_OPTIONS "vers=4.2,proto=tcp,sec=sys,soft,timeo=200,retrans=2"

static int nfs_check(
	const struct gateway_host *host, const struct vm_share *share, struct error *err)
{
	return host->serve
		       ? 0
		       : fail(err, -ENETUNREACH,
				 "the VM must be on one of the node's networks, where the node's "
				 "daemon checks its address; ask for one with --network NAME");
}

/* The directory is opened by its user, so that nobody with more rights looks for it. */
static int nfs_start(
	const struct gateway_host *host, struct vm_share *share, size_t index, struct error *err)
{
	autoclose int fd = open(share->source, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return fail_errno(err, -errno, "cannot open '%s'", share->source);
	return host->serve(host->userdata, fd, share->read_only, &share->server, err);
}

static void nfs_fill_mount(const struct vm_share *share, size_t index, struct gateway_mount *texts,
	struct mount_request *ret)
{
	const struct gateway_server *server = &share->server;

	snprintf(texts->source, sizeof(texts->source), "%s:%s", server->address, server->path);
	snprintf(texts->options, sizeof(texts->options), "addr=%s," NFS_OPTIONS, server->address);
	*ret = (struct mount_request){
		.type = "nfs4",
		.source = texts->source,
		.target = share->target,
		.options = texts->options,
		.flags = MOUNT_NOSUID | MOUNT_NODEV | (share->read_only ? MOUNT_READ_ONLY : 0),
	};
}

const struct gateway gateway_nfs = {
	.name = "nfs",
	.kind = GATEWAY_NETWORK,
	.filesystem = "nfs4",
	.overhead_mib = 0, /* the server's memory is the kernel's, and the guest's its own */
	.cloneable = true,
	.dies_alone = true,
	.check = nfs_check,
	.start = nfs_start,
	.fill_mount = nfs_fill_mount,
};
