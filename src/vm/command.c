#include "vm/command.h"

#include <errno.h>
#include <stdio.h>

#include "vm/disks.h"
#include "vm/qemu.h"
#include "vm/volumes.h"

/* QEMU 7.2 says that it copies strings fast (ERMS) but emulates them byte by byte; without the flag
 * Linux copies in words, which doubles the speed of pipes and sockets in the guest. */
#define CPU_TCG "max,-erms"

/* Is it the same machine, to its guest, as others are? */
static bool is_template_or_clone(const struct vm_spec *spec)
{
	return spec->start != VM_START_BOOT;
}

static void add_accel(struct strv *argv, const struct vm_spec *spec)
{
	strv_add(argv, "-accel");
	if (spec->accel == ACCEL_KVM)
		strv_add(argv, "kvm");
	else
		strv_add_format(argv, "tcg,thread=multi,tb-size=%llu",
			(unsigned long long)accel_cache_mib(spec->cpus, spec->memory_mib));
}

/* Does a helper outside of QEMU map the guest's memory? */
static bool memory_is_shared(const struct vm_spec *spec)
{
	for (size_t i = 0; i < spec->share_count; i++)
		if (spec->shares[i].gateway->shared_memory)
			return true;
	return false;
}

static void add_machine(struct strv *argv, const struct vm_spec *spec)
{
	strv_add_all(
		argv, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", NULL);
	strv_add(argv, "-name");
	strv_add_format(argv, "%s,debug-threads=on", spec->name);
	/* q35 for PCIe; what a batch VM never uses is switched off to shorten the guest's boot. */
	strv_add(argv, "-machine");
	strv_add_format(argv, "q35,usb=off,vmport=off,smbus=off,sata=on,hpet=off,mem-merge=%s%s",
		spec->memory_merge ? "on" : "off",
		spec->memory_fd >= 0 || spec->memory_huge || memory_is_shared(spec)
			? ",memory-backend=memory"
			: "");
	add_accel(argv, spec);
	strv_add_all(argv, "-cpu", spec->accel == ACCEL_KVM ? "host" : CPU_TCG, NULL);
	strv_add(argv, "-smp");
	strv_add_format(argv, "%llu", (unsigned long long)spec->cpus);
	strv_add(argv, "-m");
	strv_add_format(argv, "%lluM", (unsigned long long)spec->memory_mib);
	if (spec->start == VM_START_CLONE)
		strv_add_all(argv, "-incoming", "defer", NULL);
}

/* A file by its descriptor: QEMU opens it again by that name, for writing even if it maps it
 * privately, which a sealed memfd allows and its seals make harmless. */
static void add_memory(struct strv *argv, const struct vm_spec *spec)
{
	if (spec->memory_fd >= 0) {
		strv_add(argv, "-object");
		strv_add_format(argv,
			"memory-backend-file,id=memory,size=%lluM,mem-path=/proc/self/fd/%d,"
			"share=%s",
			(unsigned long long)spec->memory_mib, spec->memory_fd,
			spec->memory_private ? "off" : "on");
	} else if (spec->memory_huge) {
		strv_add(argv, "-object");
		strv_add_format(argv,
			"memory-backend-memfd,id=memory,size=%lluM,share=on,hugetlb=on",
			(unsigned long long)spec->memory_mib);
	} else if (memory_is_shared(spec)) {
		strv_add(argv, "-object");
		strv_add_format(argv, "memory-backend-memfd,id=memory,size=%lluM,share=on",
			(unsigned long long)spec->memory_mib);
	}
	if (spec->memory_balloon)
		strv_add_all(argv, "-device", "virtio-balloon-pci,free-page-reporting=on", NULL);
}

/* Nothing in QEMU may start programs, change its user or its scheduling: a guest that breaks out
 * of its devices finds only what the user's own process could do, and less. */
static void add_sandbox(struct strv *argv)
{
	strv_add_all(argv, "-sandbox",
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", NULL);
}

static void add_kernel(struct strv *argv, const struct vm_spec *spec)
{
	/* A clone's kernel is in its memory. */
	if (spec->kernel_fd < 0 || spec->start == VM_START_CLONE)
		return;
	strv_add(argv, "-kernel");
	strv_add_format(argv, "/proc/self/fd/%d", spec->kernel_fd);
	strv_add(argv, "-initrd");
	strv_add_format(argv, "/proc/self/fd/%d", spec->initrd_fd);
	strv_add_all(argv, "-append", spec->command_line, NULL);
}

static void add_channel(struct strv *argv, const char *id, int fd)
{
	strv_add(argv, "-chardev");
	strv_add_format(argv, "socket,id=%s,fd=%d", id, fd);
}

/* The ports of shares by sshfs, those of a template's included. */
static size_t count_ports(const struct vm_spec *spec)
{
	size_t n = 0;

	for (size_t i = 0; i < spec->share_count; i++)
		n += spec->shares[i].gateway == &gateway_sshfs;
	return is_template_or_clone(spec) ? MAX_OF(n, spec->slots) : n;
}

static void add_channels(
	struct strv *argv, const struct vm_spec *spec, const struct command_channels *channels)
{
	add_channel(argv, "qmp", channels->qmp_fd);
	strv_add_all(argv, "-mon", "chardev=qmp,mode=control", NULL);
	add_channel(argv, "console", channels->console_fd);
	strv_add_all(argv, "-serial", "chardev:console", NULL);
	add_channel(argv, "agent", channels->agent_fd);
	/* The first port is the console that it does not have. */
	strv_add(argv, "-device");
	strv_add_format(argv, "virtio-serial-pci,max_ports=%zu", 2 + count_ports(spec));
	strv_add_all(argv, "-device", "virtserialport,chardev=agent,name=" VM_AGENT_PORT, NULL);
}

/* "3:4:5" */
static void list_descriptors(const int *fds, size_t count, char ret[12 * VM_QUEUES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += (size_t)snprintf(ret + n, 12, "%s%d", i > 0 ? ":" : "", fds[i]);
}

static void add_tap(struct strv *argv, const struct vm_tap *tap)
{
	const char *plural = tap->count > 1 ? "s" : "";
	char fds[12 * VM_QUEUES_MAX] = "", vhost[12 * VM_QUEUES_MAX] = "";

	list_descriptors(tap->fds, tap->count, fds);
	list_descriptors(tap->vhost_fds, tap->vhost_count, vhost);
	strv_add(argv, "-netdev");
	if (tap->vhost_count > 0)
		strv_add_format(argv, "tap,id=net0,fd%s=%s,vhost=on,vhostfd%s=%s", plural, fds,
			plural, vhost);
	else
		strv_add_format(argv, "tap,id=net0,fd%s=%s", plural, fds);
}

static void add_network(struct strv *argv, const struct vm_spec *spec)
{
	bool connected = spec->start != VM_START_TEMPLATE;
	size_t queues = connected && spec->network == VM_NETWORK_TAP ? spec->tap.count : 1;
	char multiple[32] = "";

	if (spec->network == VM_NETWORK_NONE)
		return;
	/* No IPv6 until it can be given the host's real reachability: a dead default route makes
	 * programs wait. romfile= spares the guest's firmware a network boot, and a clone has
	 * nobody to announce itself to. */
	if (connected && spec->network == VM_NETWORK_TAP) {
		add_tap(argv, &spec->tap);
	} else if (connected && spec->network == VM_NETWORK_STREAM) {
		strv_add(argv, "-netdev");
		strv_add_format(argv, "stream,id=net0,server=off,addr.type=fd,addr.str=%d",
			spec->stream_fd);
	} else if (connected) {
		strv_add_all(argv, "-netdev", "user,id=net0,ipv6=off", NULL);
	}
	/* An interrupt for each direction of each queue, one for control, one for changes. */
	if (queues > 1)
		snprintf(multiple, sizeof(multiple), ",mq=on,vectors=%zu", 2 * queues + 2);
	strv_add(argv, "-device");
	strv_add_format(argv, "virtio-net-pci,%smac=%s,romfile=,guest_announce=off%s",
		connected ? "netdev=net0," : "",
		is_template_or_clone(spec) ? VM_TEMPLATE_MAC : spec->mac, multiple);
}

static void add_shares(struct strv *argv, const struct vm_spec *spec)
{
	const size_t slots = is_template_or_clone(spec) ? spec->slots : 0;
	size_t used = 0, ports = 0;

	for (size_t i = 0; i < spec->share_count; i++) {
		const struct gateway *gateway = spec->shares[i].gateway;

		used += gateway == &gateway_9p;
		ports += gateway == &gateway_sshfs;
		if (gateway->add_device)
			gateway->add_device(&spec->shares[i], gateway_index(spec->shares, i), argv);
	}
	for (; used < slots; used++)
		gateway_9p.add_device(NULL, used, argv);
	for (; ports < slots; ports++)
		gateway_sshfs.add_device(NULL, ports, argv);
}

int command_build(
	const struct vm_spec *spec, const struct command_channels *channels, struct strv *ret_argv)
{
	struct strv *argv = ret_argv;

	strv_add(argv, spec->qemu ? spec->qemu : QEMU_PROGRAM);
	add_machine(argv, spec);
	add_memory(argv, spec);
	add_sandbox(argv);
	add_kernel(argv, spec);
	add_channels(argv, spec, channels);
	disks_add(spec, argv);
	volumes_add(spec, argv);
	add_network(argv, spec);
	add_shares(argv, spec);
	strv_add_all(argv, "-device", "virtio-rng-pci", NULL);
	/* Tells a guest that knows it that it is a clone now: its kernel reseeds itself. */
	if (is_template_or_clone(spec))
		strv_add_all(argv, "-device", "vmgenid,guid=auto", NULL);
	return argv->failed ? -ENOMEM : 0;
}

size_t command_descriptors(const struct vm_spec *spec, const struct command_channels *channels,
	int ret[COMMAND_FDS_MAX])
{
	const int all[] = {
		channels->qmp_fd,
		channels->agent_fd,
		channels->console_fd,
		spec->memory_fd,
		spec->state_fd,
		spec->kernel_fd,
		spec->initrd_fd,
		spec->disk_fd,
		spec->template_overlay_fd,
		spec->overlay_fd,
		spec->scratch_fd,
		spec->seed_fd,
		spec->network == VM_NETWORK_STREAM ? spec->stream_fd : -1,
	};
	size_t n = 0;

	_Static_assert(ARRAY_SIZE(all) + 2 * VM_QUEUES_MAX + VM_SHARES_MAX + VM_VOLUMES_MAX <=
			       COMMAND_FDS_MAX,
		"no room for all");
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i] >= 0)
			ret[n++] = all[i];
	if (spec->network == VM_NETWORK_TAP) {
		for (size_t i = 0; i < spec->tap.count; i++)
			ret[n++] = spec->tap.fds[i];
		for (size_t i = 0; i < spec->tap.vhost_count; i++)
			ret[n++] = spec->tap.vhost_fds[i];
	}
	for (size_t i = 0; i < spec->share_count; i++)
		if (spec->shares[i].gateway->kind == GATEWAY_DEVICE &&
			spec->shares[i].gateway->start && spec->shares[i].helper.fd >= 0)
			ret[n++] = spec->shares[i].helper.fd;
	for (size_t i = 0; i < spec->volume_count; i++)
		if (spec->volumes[i].fd >= 0)
			ret[n++] = spec->volumes[i].fd;
	return n;
}
