/* The virtiofs gateway: the program virtiofsd serves the directory, and QEMU only connects it to
 * the guest, whose memory it maps. */
#include <errno.h>
#include <stdio.h>

#include "vm/relay.h"
#include "vm/virtiofsd.h"

/* Requests on their way; the default, 128, is soon full with small ones. */
#define VIRTIOFS_QUEUE 1024

static int virtiofs_check(
	const struct gateway_host *host, const struct vm_share *share, struct error *err)
{
	struct virtiofsd program;

	return virtiofsd_find(host->virtiofsd, &program, err);
}

static int virtiofs_start(
	const struct gateway_host *host, struct vm_share *share, size_t index, struct error *err)
{
	struct gateway_helper *helper = &share->helper;
	struct virtiofsd program;
	int r = virtiofsd_find(host->virtiofsd, &program, err), fd = -1;

	if (r == 0)
		r = virtiofsd_start(&program, host, share, helper, err);
	if (r < 0)
		return r;
	r = relay_open(host->event, TAKE_FD(helper->fd), &helper->relay, &fd);
	helper->fd = fd;
	return r < 0 ? fail_errno(err, r, "cannot connect it to QEMU") : 0;
}

/* The other knows nothing of what the guest has open, and until it is mounted again answers all
 * with an error. */
static int virtiofs_restart(
	const struct gateway_host *host, struct vm_share *share, size_t index, struct error *err)
{
	struct gateway_helper next = GATEWAY_HELPER_INIT;
	struct virtiofsd program;
	int r = virtiofsd_find(host->virtiofsd, &program, err);

	if (r == 0)
		r = virtiofsd_start(&program, host, share, &next, err);
	if (r < 0)
		return r;
	next.relay = TAKE_PTR(share->helper.relay);
	r = relay_replace(next.relay, TAKE_FD(next.fd));
	next.fd = TAKE_FD(share->helper.fd);
	gateway_helper_stop(&share->helper);
	share->helper = next;
	return r < 0 ? fail_errno(err, r, "cannot connect it to QEMU") : 0;
}

static void virtiofs_add_device(const struct vm_share *share, size_t index, struct strv *argv)
{
	strv_add(argv, "-chardev");
	strv_add_format(argv, "socket,id=fs%zu,fd=%d", index, share->helper.fd);
	strv_add(argv, "-device");
	strv_add_format(argv, "vhost-user-fs-pci,chardev=fs%zu,tag=fs%zu,queue-size=%d", index,
		index, VIRTIOFS_QUEUE);
}

static void virtiofs_fill_mount(const struct vm_share *share, size_t index,
	struct gateway_mount *texts, struct mount_request *ret)
{
	snprintf(texts->source, sizeof(texts->source), "fs%zu", index);
	*ret = (struct mount_request){
		.type = "virtiofs",
		.source = texts->source,
		.target = share->target,
		.options = "",
		.flags = MOUNT_NOSUID | MOUNT_NODEV | (share->read_only ? MOUNT_READ_ONLY : 0),
	};
}

const struct gateway gateway_virtiofs = {
	.name = "virtiofs",
	.kind = GATEWAY_DEVICE,
	.filesystem = "virtiofs",
	.overhead_mib = 8, /* and the host's part of each file that the guest knows */
	.shared_memory = true,
	.boot_rank = 20,
	.check = virtiofs_check,
	.start = virtiofs_start,
	.restart = virtiofs_restart,
	.add_device = virtiofs_add_device,
	.fill_mount = virtiofs_fill_mount,
};
