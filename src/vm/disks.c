#include "vm/disks.h"

#include <stdio.h>

/* Descriptor sets, by which -blockdev names files that are open already. */
enum { FDSET_DISK = 1, FDSET_OVERLAY, FDSET_SCRATCH, FDSET_SEED, FDSET_TEMPLATE };

/* Names of QEMU's objects. */
#define LIMITS "limits"
#define THREAD "disks"

#define LAYER_OPTIONS_MAX 96

static bool is_limited(const struct vm_spec *spec)
{
	return spec->disk_iops > 0 || spec->disk_rate > 0;
}

static void add_fdset(struct strv *argv, int set, int fd)
{
	strv_add(argv, "-add-fd");
	strv_add_format(argv, "set=%d,fd=%d", set, fd);
}

static void add_read_only(struct strv *argv, int set, int fd, const char *node)
{
	add_fdset(argv, set, fd);
	strv_add(argv, "-blockdev");
	strv_add_format(
		argv, "driver=file,node-name=%s,filename=/dev/fdset/%d,read-only=on", node, set);
}

/* A file or volume that the guest writes to. It is thrown away with the VM, so nothing is ever
 * flushed. */
static void add_written(struct strv *argv, const struct vm_spec *spec, int set, int fd,
	const char *node, bool volume)
{
	char options[LAYER_OPTIONS_MAX] = "";

	if (volume ? spec->direct_volumes : spec->direct_files)
		snprintf(options, sizeof(options), ",cache.direct=on,aio=%s", spec->aio);
	add_fdset(argv, set, fd);
	strv_add(argv, "-blockdev");
	strv_add_format(argv,
		"driver=%s,node-name=%s,filename=/dev/fdset/%d,discard=unmap,cache.no-flush=on%s",
		volume ? "host_device" : "file", node, set, options);
}

/* The layer that a device has as its drive: the format, below the limits if there are some. */
static void add_format(struct strv *argv, const struct vm_spec *spec, const char *node,
	const char *driver, const char *options)
{
	bool limited = is_limited(spec);

	strv_add(argv, "-blockdev");
	strv_add_format(argv, "driver=%s,node-name=%s%s,%s,discard=unmap,cache.no-flush=on", driver,
		node, limited ? "-format" : "", options);
	if (!limited)
		return;
	strv_add(argv, "-blockdev");
	strv_add_format(argv,
		"driver=throttle,node-name=%s,throttle-group=" LIMITS
		",file=%s-format,discard=unmap,cache.no-flush=on",
		node, node);
}

/* A write error stops the VM instead of reaching the guest, so that the host can say that its disk
 * is full. */
static void add_device(
	struct strv *argv, const struct vm_spec *spec, const char *node, const char *options)
{
	strv_add(argv, "-device");
	strv_add_format(argv,
		"virtio-blk-pci,drive=%s%s%s,write-cache=on,werror=stop,rerror=report", node,
		options, spec->disk_thread ? ",iothread=" THREAD : "");
}

/* One group for all that a VM writes and reads: the limit is the VM's. In JSON, as QEMU knows
 * limits by these names only there. */
static void add_limits(struct strv *argv, const struct vm_spec *spec)
{
	if (!is_limited(spec))
		return;
	strv_add(argv, "-object");
	/* 0 is no limit to QEMU, too. */
	strv_add_format(argv,
		"{\"qom-type\":\"throttle-group\",\"id\":\"" LIMITS
		"\",\"limits\":{\"iops-total\":%llu,\"bps-total\":%llu}}",
		(unsigned long long)spec->disk_iops, (unsigned long long)spec->disk_rate);
}

static void add_template_overlay(struct strv *argv, const struct vm_spec *spec)
{
	if (spec->template_overlay_fd < 0)
		return;
	add_read_only(argv, FDSET_TEMPLATE, spec->template_overlay_fd, "template-file");
	strv_add_all(argv, "-blockdev",
		"driver=qcow2,node-name=template,file=template-file,backing=base,read-only=on",
		NULL);
}

/* A disk that is being changed, instead of one that a VM starts from, which whoever made it
 * flushes; or a volume of the VM's own, which may be a little larger than the disk that is on it.
 */
static void add_own_disk(struct strv *argv, const struct vm_spec *spec)
{
	char options[LAYER_OPTIONS_MAX] = "file=base-file";

	if (spec->root_bytes > 0)
		snprintf(options, sizeof(options), "file=base-file,size=%llu",
			(unsigned long long)spec->root_bytes);
	add_written(argv, spec, FDSET_DISK, spec->disk_fd, "base-file", spec->root_is_volume);
	add_format(argv, spec, "root", "raw", options);
}

/* The base is read-only and shared by all VMs through the host's page cache. What the guest writes
 * goes to the overlay. */
static void add_overlay(struct strv *argv, const struct vm_spec *spec)
{
	bool template = spec->template_overlay_fd >= 0;

	add_read_only(argv, FDSET_DISK, spec->disk_fd, "base-file");
	strv_add(argv, "-blockdev");
	/* backing= (none): a base must not make QEMU open a file that its header names. */
	strv_add_format(argv, "driver=%s,node-name=base,file=base-file,read-only=on%s",
		spec->disk_format, streq(spec->disk_format, "qcow2") ? ",backing=" : "");
	add_template_overlay(argv, spec);
	add_written(argv, spec, FDSET_OVERLAY, spec->overlay_fd, "overlay-file", false);
	add_format(argv, spec, "root", "qcow2",
		template ? "file=overlay-file,backing=template" : "file=overlay-file,backing=base");
}

static void add_root(struct strv *argv, const struct vm_spec *spec)
{
	if (spec->overlay_fd < 0) {
		add_own_disk(argv, spec);
	} else {
		add_overlay(argv, spec);
	}
	add_device(argv, spec, "root", "");
}

static void add_scratch(struct strv *argv, const struct vm_spec *spec)
{
	if (spec->scratch_bytes == 0)
		return;
	if (spec->scratch_fd >= 0) {
		add_written(argv, spec, FDSET_SCRATCH, spec->scratch_fd, "scratch-file",
			spec->scratch_is_volume);
		add_format(argv, spec, DISKS_SCRATCH_NODE, "raw", "file=scratch-file");
	} else {
		strv_add_all(argv, "-blockdev",
			"driver=null-co,node-name=" DISKS_SCRATCH_NODE ",size=0", NULL);
	}
	add_device(argv, spec, DISKS_SCRATCH_NODE, ",serial=" VM_SCRATCH_SERIAL);
}

static void add_seed(struct strv *argv, const struct vm_spec *spec)
{
	if (spec->seed_fd < 0)
		return;
	add_read_only(argv, FDSET_SEED, spec->seed_fd, "seed-file");
	strv_add_all(argv, "-blockdev", "driver=raw,node-name=seed,file=seed-file,read-only=on",
		"-device", "virtio-blk-pci,drive=seed", NULL);
}

void disks_add(const struct vm_spec *spec, struct strv *ret_argv)
{
	if (spec->disk_thread)
		strv_add_all(ret_argv, "-object", "iothread,id=" THREAD, NULL);
	add_limits(ret_argv, spec);
	add_root(ret_argv, spec);
	add_scratch(ret_argv, spec);
	add_seed(ret_argv, spec);
}
