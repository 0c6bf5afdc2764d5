/* The sshfs gateway: wnodes-sftp serves the directory on the host, sshfs mounts it in the guest,
 * and a virtio-serial port connects both: no network, no key, no encryption. The port is one of the
 * agent's device, but not the agent's channel: what goes through it need not be copied by us and by
 * the agent, and a share that is slow holds up nobody.
 *
 * It needs little of a guest, a package of its distribution and no more of the kernel than FUSE,
 * and nothing of the host: so it is for guests that have neither 9p nor virtiofs.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/child.h"
#include "lib/path.h"
#include "vm/gateway.h"
#include "vm/qmp.h"

#define SSHFS_PROGRAM "wnodes-sftp"
#define SSHFS_PORT    "org.wnodes.share."

static int sshfs_check(
	const struct gateway_host *host, const struct vm_share *share, struct error *err)
{
	autofree char *program = path_own_program(SSHFS_PROGRAM);

	if (!program)
		return fail(err, -ENOMEM, "out of memory");
	return access(program, X_OK) == 0
		       ? 0
		       : fail_errno(
				 err, -errno, "the program '%s' of WNoDeS cannot be run", program);
}

/* It ends with us, with QEMU, or by our doing; signals that a batch system sends to a job, and a
 * terminal's, are not for it. */
static int sshfs_spawn(
	const struct vm_share *share, int fd, struct gateway_helper *ret, struct error *err)
{
	autofree char *program = path_own_program(SSHFS_PROGRAM);
	const char *const read_write[] = {program, share->source, NULL};
	const char *const read_only[] = {program, "--read-only", share->source, NULL};
	struct child_spec child = CHILD_SPEC_INIT;

	if (!program)
		return fail(err, -ENOMEM, "out of memory");
	child.argv = share->read_only ? read_only : read_write;
	child.stdin_fd = child.stdout_fd = fd;
	child.new_session = child.unasked = child.no_new_privs = true;
	return child_spawn(&child, &ret->pid, &ret->pidfd, err);
}

static int sshfs_start(
	const struct gateway_host *host, struct vm_share *share, size_t index, struct error *err)
{
	struct gateway_helper helper = GATEWAY_HELPER_INIT;
	autoclose int theirs = -1;
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(err, -errno, "cannot make a pair of sockets");
	helper.fd = ends[0];
	theirs = ends[1];
	r = sshfs_spawn(share, theirs, &helper, err);
	if (r < 0)
		gateway_helper_stop(&helper);
	share->helper = helper;
	return r;
}

static json_t *socket_backend(const char *fd_name)
{
	return json_pack("{s:s, s:{s:{s:s, s:{s:s}}, s:b}}", "type", "socket", "data", "addr",
		"type", "fd", "data", "str", fd_name, "server", 0);
}

/* QEMU closes the port with the old server's end, and opens it with the new one's. */
static int sshfs_change(const struct gateway_host *host, int fd, size_t index, struct error *err)
{
	char id[32], name[48];
	int r;

	snprintf(id, sizeof(id), "sshfs%zu", index);
	snprintf(name, sizeof(name), "%s-again", id);
	r = qmp_give_fd(host->qmp, name, fd, NULL, NULL);
	if (r == 0)
		r = qmp_execute(host->qmp, "chardev-change",
			json_pack("{s:s, s:o}", "id", id, "backend", socket_backend(name)), NULL,
			NULL);
	return r < 0 ? fail_errno(err, r, "cannot connect it to QEMU") : 0;
}

/* The guest's sshfs ended with the old one. */
static int sshfs_restart(
	const struct gateway_host *host, struct vm_share *share, size_t index, struct error *err)
{
	int r;

	gateway_helper_stop(&share->helper);
	r = sshfs_start(host, share, index, err);
	return r < 0 ? r : sshfs_change(host, share->helper.fd, index, err);
}

static void sshfs_add_device(const struct vm_share *share, size_t index, struct strv *argv)
{
	if (share) {
		strv_add(argv, "-chardev");
		strv_add_format(argv, "socket,id=sshfs%zu,fd=%d", index, share->helper.fd);
	}
	strv_add(argv, "-device");
	if (share)
		strv_add_format(argv, "virtserialport,chardev=sshfs%zu,name=" SSHFS_PORT "%zu",
			index, index);
	else
		strv_add_format(argv, "virtserialport,name=" SSHFS_PORT "%zu", index);
}

static void sshfs_fill_mount(const struct vm_share *share, size_t index,
	struct gateway_mount *texts, struct mount_request *ret)
{
	snprintf(texts->source, sizeof(texts->source), SSHFS_PORT "%zu", index);
	*ret = (struct mount_request){
		.type = "fuse.sshfs",
		.source = texts->source,
		.target = share->target,
		.flags = MOUNT_NOSUID | MOUNT_NODEV | (share->read_only ? MOUNT_READ_ONLY : 0),
	};
}

const struct gateway gateway_sshfs = {
	.name = "sshfs",
	.kind = GATEWAY_DEVICE,
	.filesystem = "fuse.sshfs",
	.guest_program = "sshfs",
	.agent_feature = AGENT_FEATURE_SSHFS,
	.overhead_mib = 4, /* a packet each way, and what is open */
	.cloneable = true,
	.dies_alone = true,
	.boot_rank = 90,
	.clone_rank = 90,
	.check = sshfs_check,
	.start = sshfs_start,
	.restart = sshfs_restart,
	.add_device = sshfs_add_device,
	.fill_mount = sshfs_fill_mount,
};
