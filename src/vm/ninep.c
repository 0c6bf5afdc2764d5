/* The 9p gateway: QEMU itself serves the directory, with the rights of its own user.
 *
 * security_model=none for a user: files are made as that user and ownership changes are let pass,
 * which is right because QEMU could not change it anyway. Root's QEMU uses passthrough, where a
 * chown in the guest is a chown on the host: root in the guest is only the user on the host.
 *
 * multidevs=remap keeps inode numbers apart when the directory spans several file systems.
 */
#include <stdio.h>

#include "vm/gateway.h"
#include "vm/quote.h"

/* The largest message that the virtio transport of Linux takes is 500 KiB; fewer, larger messages
 * are what makes 9p fast under emulation. cache=mmap keeps the page cache for mapped files only, so
 * that host and guest see each other's writes at once while programs may still map files. */
#define NINEP_OPTIONS "trans=virtio,version=9p2000.L,msize=512000,cache=mmap,access=any"

static void ninep_add_directory(const struct vm_share *share, size_t index, struct strv *argv)
{
	autofree char *source = quote_option(share->source);

	if (!source) {
		argv->failed = true;
		return;
	}
	strv_add_format(argv, "local,id=share%zu,path=%s,security_model=%s,multidevs=remap%s",
		index, source, geteuid() == 0 ? "passthrough" : "none",
		share->read_only ? ",readonly=on" : "");
}

static void ninep_add_device(const struct vm_share *share, size_t index, struct strv *argv)
{
	strv_add(argv, "-fsdev");
	if (share)
		ninep_add_directory(share, index, argv);
	else /* a tree in QEMU's memory with nothing in it */
		strv_add_format(argv, "synth,id=share%zu", index);
	strv_add(argv, "-device");
	strv_add_format(argv, "virtio-9p-pci,fsdev=share%zu,mount_tag=share%zu", index, index);
}

static void ninep_fill_mount(const struct vm_share *share, size_t index,
	struct gateway_mount *texts, struct mount_request *ret)
{
	snprintf(texts->source, sizeof(texts->source), "share%zu", index);
	*ret = (struct mount_request){
		.type = "9p",
		.source = texts->source,
		.target = share->target,
		.options = NINEP_OPTIONS,
		.flags = MOUNT_NOSUID | MOUNT_NODEV | (share->read_only ? MOUNT_READ_ONLY : 0),
	};
}

const struct gateway gateway_9p = {
	.name = "9p",
	.kind = GATEWAY_DEVICE,
	.filesystem = "9p",
	.overhead_mib = 4, /* messages and their coroutines; docs/memory.md */
	.cloneable = true,
	.boot_rank = 10,
	.clone_rank = 10,
	.add_device = ninep_add_device,
	.fill_mount = ninep_fill_mount,
};
