#include "vm/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct command_channels channels = {10, 11, 12};

/* A VM with all that one can have. */
static struct vm_spec full_spec(void)
{
	static char source[] = "/data,readonly=off", target[] = "/in";

	return (struct vm_spec){
		.name = "vm-12345678",
		.accel = ACCEL_TCG,
		.cpus = 3,
		.memory_mib = 1536,
		.memory_fd = -1,
		.state_fd = -1,
		.template_overlay_fd = -1,
		.kernel_fd = 20,
		.initrd_fd = 21,
		.command_line = "console=ttyS0 quiet, root=/dev/vda",
		.disk_fd = 22,
		.disk_format = "qcow2",
		.overlay_fd = 23,
		.scratch_bytes = 1 << 30,
		.scratch_fd = 24,
		.seed_fd = 25,
		.network = VM_NETWORK_USER,
		.mac = "52:54:00:00:00:01",
		.shares = {{&gateway_9p, source, target, true}},
		.share_count = 1,
	};
}

/* As little as one can have. */
static struct vm_spec least_spec(void)
{
	return (struct vm_spec){
		.name = "vm-12345678",
		.accel = ACCEL_KVM,
		.cpus = 1,
		.memory_mib = 256,
		.memory_fd = -1,
		.state_fd = -1,
		.template_overlay_fd = -1,
		.kernel_fd = -1,
		.initrd_fd = -1,
		.disk_fd = 22,
		.disk_format = "raw",
		.overlay_fd = 23,
		.scratch_fd = -1,
		.seed_fd = -1,
		.network = VM_NETWORK_NONE,
	};
}

static struct strv build(const struct vm_spec *spec)
{
	struct strv argv = {0};

	assert_int_equal(command_build(spec, &channels, &argv), 0);
	return argv;
}

/* Is there an argument that contains this text? */
static bool has(const struct strv *argv, const char *text)
{
	for (size_t i = 0; i < argv->count; i++)
		if (strstr(argv->items[i], text))
			return true;
	return false;
}

static size_t count_of(const struct strv *argv, const char *argument)
{
	size_t n = 0;

	for (size_t i = 0; i < argv->count; i++)
		n += streq(argv->items[i], argument);
	return n;
}

/* The argument after this option. */
static const char *value_of(const struct strv *argv, const char *option)
{
	for (size_t i = 0; i + 1 < argv->count; i++)
		if (streq(argv->items[i], option))
			return argv->items[i + 1];
	fail_msg("no %s", option);
	return NULL;
}

static void assert_has(const struct strv *argv, const char *text)
{
	if (!has(argv, text))
		fail_msg("no argument has '%s'", text);
}

static void assert_has_not(const struct strv *argv, const char *text)
{
	if (has(argv, text))
		fail_msg("an argument has '%s'", text);
}

static void qemu_reads_no_configuration_and_makes_no_device_by_itself(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = build(&spec);

	assert_string_equal(argv.items[0], "qemu-system-x86_64");
	assert_int_equal(count_of(&argv, "-nodefaults"), 1);
	assert_int_equal(count_of(&argv, "-no-user-config"), 1);
	assert_int_equal(count_of(&argv, "-no-reboot"), 1);
	assert_string_equal(value_of(&argv, "-display"), "none");
	assert_null(argv.items[argv.count]);
}

static void sandbox_denies_all_that_it_can(void **state)
{
	struct vm_spec spec = least_spec();
	struct strv argv AUTO(strv_done) = build(&spec);
	const char *sandbox = value_of(&argv, "-sandbox");

	assert_int_equal(count_of(&argv, "-sandbox"), 1);
	assert_string_equal(
		sandbox, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
}

/* All files come as descriptors: what QEMU could open by name it must not be told of. */
static void no_path_of_the_host_is_named_but_those_of_shares(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = build(&spec);

	for (size_t i = 0; i < argv.count; i++) {
		const char *a = argv.items[i];

		if (i > 0 && streq(argv.items[i - 1], "-append"))
			continue;
		for (const char *slash = strchr(a, '/'); slash; slash = strchr(slash + 1, '/'))
			if (!strstr(a, "/dev/fdset/") && !str_after(a, "/proc/self/fd/") &&
				!strstr(a, "path=/data"))
				fail_msg("a path: %s", a);
	}
}

static void every_descriptor_is_used_and_inherited(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = build(&spec);
	int fds[COMMAND_FDS_MAX];
	size_t n = command_descriptors(&spec, &channels, fds);

	assert_int_equal(n, 9);
	for (size_t i = 0; i < n; i++) {
		char by_fd[32], by_path[32];

		snprintf(by_fd, sizeof(by_fd), "fd=%d", fds[i]);
		snprintf(by_path, sizeof(by_path), "/proc/self/fd/%d", fds[i]);
		if (!has(&argv, by_fd) && !has(&argv, by_path))
			fail_msg("descriptor %d is not used", fds[i]);
	}
}

static void what_is_not_there_is_neither_inherited_nor_named(void **state)
{
	struct vm_spec spec = least_spec();
	struct strv argv AUTO(strv_done) = build(&spec);
	int fds[COMMAND_FDS_MAX];

	assert_int_equal(command_descriptors(&spec, &channels, fds), 5);
	assert_has_not(&argv, "-kernel");
	assert_has_not(&argv, "scratch");
	assert_has_not(&argv, "seed");
	assert_has_not(&argv, "netdev");
	assert_has_not(&argv, "fsdev");
	assert_has_not(&argv, "=-1");
	assert_has_not(&argv, "fd/-1");
}

static void each_set_of_descriptors_has_a_number_of_its_own(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = build(&spec);

	for (int set = 1; set <= 4; set++) {
		char added[32], used[64];

		snprintf(added, sizeof(added), "set=%d,fd=%d", set, 21 + set);
		snprintf(used, sizeof(used), "filename=/dev/fdset/%d,", set);
		assert_has(&argv, added);
		assert_has(&argv, used);
	}
}

static void base_and_seed_are_read_only(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = build(&spec);

	assert_has(&argv, "node-name=base-file,filename=/dev/fdset/1,read-only=on");
	assert_has(&argv, "driver=qcow2,node-name=base,file=base-file,read-only=on");
	assert_has(&argv, "node-name=seed-file,filename=/dev/fdset/4,read-only=on");
	assert_has(&argv, "node-name=seed,file=seed-file,read-only=on");
}

/* The guest writes to the overlay, whose backing is given here and not by what is in a file. */
static void overlay_stands_on_the_base(void **state)
{
	struct vm_spec spec = least_spec();
	struct strv argv AUTO(strv_done) = build(&spec);

	assert_has(&argv, "driver=raw,node-name=base,");
	assert_has(&argv, "driver=qcow2,node-name=root,file=overlay-file,backing=base,");
	assert_has(&argv, "drive=root,");
	assert_has_not(&argv, "drive=base");
}

/* A full disk of the host must be told to its user, not to the guest's file system. */
static void write_errors_stop_the_vm(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = build(&spec);
	size_t writable = 0;

	for (size_t i = 0; i < argv.count; i++)
		if (str_after(argv.items[i], "virtio-blk-pci,") && !strstr(argv.items[i], "seed")) {
			writable++;
			assert_non_null(strstr(argv.items[i], "werror=stop"));
		}
	assert_int_equal(writable, 2);
}

/* Its helper maps the guest's memory, and is connected already. */
static void virtiofs_has_shared_memory_and_its_socket(void **state)
{
	static char source[] = "/data", target[] = "/in";
	struct vm_spec spec = least_spec();
	struct strv argv AUTO(strv_done) = {0};
	int fds[COMMAND_FDS_MAX];
	size_t n;

	spec.shares[0] = (struct vm_share){&gateway_9p, source, target, false};
	spec.shares[1] = (struct vm_share){
		&gateway_virtiofs, source, target, false, {.fd = 40, .pidfd = -1}};
	spec.share_count = 2;
	argv = build(&spec);
	assert_has(&argv, "memory-backend-memfd,id=memory,size=");
	assert_has(&argv, "share=on");
	assert_has(&argv, "memory-backend=memory");
	assert_has(&argv, "socket,id=fs0,fd=40");
	assert_has(&argv, "vhost-user-fs-pci,chardev=fs0,tag=fs0");
	assert_has(&argv, "mount_tag=share0");
	n = command_descriptors(&spec, &channels, fds);
	assert_int_equal(fds[n - 1], 40);
}

/* What a template is made from, and a clone of it starts with. */
static struct vm_spec template_spec(void)
{
	struct vm_spec spec = full_spec();

	spec.start = VM_START_TEMPLATE;
	spec.memory_fd = 30;
	spec.scratch_fd = -1;
	spec.share_count = 0;
	spec.slots = 2;
	return spec;
}

static struct vm_spec clone_spec(void)
{
	struct vm_spec spec = full_spec();

	spec.start = VM_START_CLONE;
	spec.memory_fd = 30;
	spec.memory_private = true;
	spec.state_fd = 31;
	spec.template_overlay_fd = 32;
	spec.slots = 2;
	return spec;
}

static void template_has_its_devices_but_nothing_behind_them(void **state)
{
	struct vm_spec spec = template_spec();
	struct strv argv AUTO(strv_done) = build(&spec);

	assert_has(&argv, "id=memory,size=1536M,mem-path=/proc/self/fd/30,share=on");
	assert_has(&argv, "memory-backend=memory");
	assert_has(&argv, "virtio-net-pci,mac=" VM_TEMPLATE_MAC);
	assert_has_not(&argv, "user,id=net0");
	assert_has(&argv, "driver=null-co,node-name=scratch,size=0");
	assert_has(&argv, "synth,id=share0");
	assert_has(&argv, "mount_tag=share1");
	assert_has_not(&argv, "local,id=share");
	assert_has(&argv, "/proc/self/fd/20"); /* it boots its kernel */
	assert_has_not(&argv, "-incoming");
}

static void clone_waits_for_its_state(void **state)
{
	struct vm_spec spec = clone_spec();
	struct strv argv AUTO(strv_done) = build(&spec);

	assert_has(&argv, "-incoming");
	assert_has(&argv, "mem-path=/proc/self/fd/30,share=off");
	assert_has(&argv,
		"driver=qcow2,node-name=template,file=template-file,backing=base,read-only=on");
	assert_has(&argv, "driver=qcow2,node-name=root,file=overlay-file,backing=template,");
	assert_has(&argv, "virtio-net-pci,netdev=net0,mac=" VM_TEMPLATE_MAC);
	assert_has(&argv, "local,id=share0,path=/data");
	assert_has(&argv, "synth,id=share1");
	/* Its kernel is in its memory. */
	assert_has_not(&argv, "-kernel");
	assert_has_not(&argv, "-append");
}

/* QEMU loads a state only into the same devices in the same places. */
static void clone_is_the_same_machine_as_its_template(void **state)
{
	struct vm_spec template = template_spec(), clone = clone_spec();
	struct strv a AUTO(strv_done) = build(&template), b AUTO(strv_done) = build(&clone);
	size_t i = 0, k = 0, devices = 0;

	for (;; i++, k++) {
		while (i < a.count && !streq(a.items[i], "-device"))
			i++;
		while (k < b.count && !streq(b.items[k], "-device"))
			k++;
		if (i >= a.count || k >= b.count)
			break;
		/* "virtio-net-pci,netdev=net0,...": its kind is what counts */
		assert_int_equal(strcspn(a.items[i + 1], ","), strcspn(b.items[k + 1], ","));
		assert_memory_equal(a.items[i + 1], b.items[k + 1], strcspn(a.items[i + 1], ","));
		devices++;
	}
	assert_true(i >= a.count && k >= b.count);
	assert_true(devices >= 8);
}

static void free_memory_goes_back_only_where_it_may(void **state)
{
	struct vm_spec spec = clone_spec();
	struct strv shared AUTO(strv_done) = build(&spec), own AUTO(strv_done) = {0};

	assert_has_not(&shared, "balloon");
	spec.memory_private = false;
	spec.memory_balloon = true;
	assert_int_equal(command_build(&spec, &channels, &own), 0);
	assert_has(&own, "virtio-balloon-pci,free-page-reporting=on");
	assert_has(&own, "share=on");
}

static void pages_are_merged_only_if_asked(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv off AUTO(strv_done) = build(&spec), on AUTO(strv_done) = {0};

	assert_has(&off, "mem-merge=off");
	spec.memory_merge = true;
	assert_int_equal(command_build(&spec, &channels, &on), 0);
	assert_has(&on, "mem-merge=on");
}

static void shape_and_accelerator_are_as_asked(void **state)
{
	struct vm_spec full = full_spec(), least = least_spec();
	struct strv tcg AUTO(strv_done) = build(&full);
	struct strv kvm AUTO(strv_done) = build(&least);

	assert_string_equal(value_of(&tcg, "-smp"), "3");
	assert_string_equal(value_of(&tcg, "-m"), "1536M");
	assert_string_equal(value_of(&tcg, "-accel"), "tcg,thread=multi,tb-size=96");
	assert_non_null(str_after(value_of(&tcg, "-cpu"), "max"));
	assert_string_equal(value_of(&kvm, "-accel"), "kvm");
	assert_string_equal(value_of(&kvm, "-cpu"), "host");
}

static void kernel_gets_its_command_line_whole(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = build(&spec);

	assert_string_equal(value_of(&argv, "-append"), "console=ttyS0 quiet, root=/dev/vda");
	assert_string_equal(value_of(&argv, "-kernel"), "/proc/self/fd/20");
	assert_string_equal(value_of(&argv, "-initrd"), "/proc/self/fd/21");
}

static void share_with_a_comma_stays_one_value(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = build(&spec);
	const char *fsdev = value_of(&argv, "-fsdev");

	assert_non_null(strstr(fsdev, "path=/data,,readonly=off,security_model="));
	assert_non_null(strstr(fsdev, ",readonly=on"));
	assert_has(&argv, "virtio-9p-pci,fsdev=share0,mount_tag=share0");
}

static void writable_share_is_not_marked_read_only(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = {0};

	spec.shares[0].read_only = false;
	assert_int_equal(command_build(&spec, &channels, &argv), 0);
	assert_null(strstr(value_of(&argv, "-fsdev"), "readonly=on"));
}

static void devices_carry_the_names_that_the_guest_looks_for(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = build(&spec);

	assert_has(&argv, "virtserialport,chardev=agent,name=org.wnodes.agent.0");
	assert_has(&argv, "drive=scratch,serial=wnodes-scratch");
	assert_has(&argv, "virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01");
}

static void tap_is_given_with_all_of_its_queues(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv one AUTO(strv_done) = {0}, many AUTO(strv_done) = {0};
	int fds[COMMAND_FDS_MAX];
	size_t n;

	spec.network = VM_NETWORK_TAP;
	spec.tap = (struct vm_tap){.fds = {50}, .count = 1};
	one = build(&spec);
	assert_string_equal(value_of(&one, "-netdev"), "tap,id=net0,fd=50");
	assert_has_not(&one, "mq=on");
	spec.tap = (struct vm_tap){.fds = {50, 51, 52, 53},
		.count = 4,
		.vhost_fds = {60, 61, 62, 63},
		.vhost_count = 4};
	many = build(&spec);
	assert_string_equal(value_of(&many, "-netdev"),
		"tap,id=net0,fds=50:51:52:53,vhost=on,vhostfds=60:61:62:63");
	assert_has(&many, "guest_announce=off,mq=on,vectors=10");
	n = command_descriptors(&spec, &channels, fds);
	assert_int_equal(n, 9 + 8);
}

/* Of the template's state, in which there is no other. */
static void clone_has_the_one_queue_of_its_template(void **state)
{
	struct vm_spec spec = clone_spec();
	struct strv argv AUTO(strv_done) = {0};

	spec.network = VM_NETWORK_TAP;
	spec.tap = (struct vm_tap){.fds = {50}, .count = 1};
	argv = build(&spec);
	assert_string_equal(value_of(&argv, "-netdev"), "tap,id=net0,fd=50");
	assert_has_not(&argv, "mq=on");
}

static void limits_are_below_both_disks(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv without AUTO(strv_done) = build(&spec);
	struct strv argv AUTO(strv_done) = {0};

	assert_has_not(&without, "throttle");
	spec.disk_iops = 100;
	argv = build(&spec);
	assert_has(&argv, "\"limits\":{\"iops-total\":100,\"bps-total\":0}");
	assert_has(&argv, "driver=throttle,node-name=root,throttle-group=limits,file=root-format");
	assert_has(&argv, "driver=throttle,node-name=scratch,throttle-group=limits");
}

static void memory_of_huge_pages_is_a_file_of_them(void **state)
{
	struct vm_spec spec = least_spec();
	struct strv argv AUTO(strv_done) = {0};

	spec.memory_huge = true;
	argv = build(&spec);
	assert_has(&argv, "memory-backend-memfd,id=memory,size=256M,share=on,hugetlb=on");
	assert_has(&argv, "memory-backend=memory");
}

static void disks_pass_the_cache_by_where_they_are_told(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = {0};
	struct strv volume AUTO(strv_done) = {0};

	spec.aio = "native";
	spec.direct_volumes = true;
	argv = build(&spec);
	assert_has_not(&argv, "cache.direct");
	spec.scratch_is_volume = true;
	spec.disk_thread = true;
	volume = build(&spec);
	assert_has(&volume, "node-name=scratch-file,filename=/dev/fdset/3,discard=unmap,"
			    "cache.no-flush=on,cache.direct=on,aio=native");
	assert_has(&volume, "iothread,id=disks");
	assert_has(&volume, "drive=root,iothread=disks");
}

static void volumes_are_devices_of_the_host(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done) = {0};

	spec.scratch_is_volume = true;
	argv = build(&spec);
	assert_has(&argv, "driver=host_device,node-name=scratch-file");
	assert_has_not(&argv, "driver=host_device,node-name=overlay-file");
	assert_has(&argv, "driver=qcow2,node-name=root");
}

static void chosen_qemu_is_started(void **state)
{
	struct vm_spec spec = least_spec();
	struct strv argv AUTO(strv_done) = {0};

	spec.qemu = "/opt/qemu/bin/qemu";
	assert_int_equal(command_build(&spec, &channels, &argv), 0);
	assert_string_equal(argv.items[0], "/opt/qemu/bin/qemu");
}

static void a_disk_of_its_own_has_no_overlay(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done);

	spec.overlay_fd = -1;
	spec.disk_format = "raw";
	argv = build(&spec);
	assert_true(has(&argv, "driver=raw,node-name=root,file=base-file,discard=unmap"));
	assert_false(has(&argv, "overlay-file"));
	assert_false(has(&argv, "node-name=base-file,filename=/dev/fdset/1,read-only=on"));
}

/* LVM rounds up: the guest sees what it would see without. */
static void a_root_disk_may_be_a_volume(void **state)
{
	struct vm_spec spec = full_spec();
	struct strv argv AUTO(strv_done);

	spec.overlay_fd = -1;
	spec.root_is_volume = true;
	spec.root_bytes = 1000448;
	argv = build(&spec);
	assert_true(has(&argv, "driver=host_device,node-name=base-file,filename=/dev/fdset/1"));
	assert_true(has(&argv, "driver=raw,node-name=root,file=base-file,size=1000448,"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_of_its_own_has_no_overlay),
		cmocka_unit_test(a_root_disk_may_be_a_volume),
		cmocka_unit_test(qemu_reads_no_configuration_and_makes_no_device_by_itself),
		cmocka_unit_test(sandbox_denies_all_that_it_can),
		cmocka_unit_test(no_path_of_the_host_is_named_but_those_of_shares),
		cmocka_unit_test(every_descriptor_is_used_and_inherited),
		cmocka_unit_test(what_is_not_there_is_neither_inherited_nor_named),
		cmocka_unit_test(each_set_of_descriptors_has_a_number_of_its_own),
		cmocka_unit_test(virtiofs_has_shared_memory_and_its_socket),
		cmocka_unit_test(base_and_seed_are_read_only),
		cmocka_unit_test(overlay_stands_on_the_base),
		cmocka_unit_test(write_errors_stop_the_vm),
		cmocka_unit_test(template_has_its_devices_but_nothing_behind_them),
		cmocka_unit_test(clone_waits_for_its_state),
		cmocka_unit_test(clone_is_the_same_machine_as_its_template),
		cmocka_unit_test(free_memory_goes_back_only_where_it_may),
		cmocka_unit_test(pages_are_merged_only_if_asked),
		cmocka_unit_test(shape_and_accelerator_are_as_asked),
		cmocka_unit_test(kernel_gets_its_command_line_whole),
		cmocka_unit_test(share_with_a_comma_stays_one_value),
		cmocka_unit_test(writable_share_is_not_marked_read_only),
		cmocka_unit_test(devices_carry_the_names_that_the_guest_looks_for),
		cmocka_unit_test(tap_is_given_with_all_of_its_queues),
		cmocka_unit_test(clone_has_the_one_queue_of_its_template),
		cmocka_unit_test(limits_are_below_both_disks),
		cmocka_unit_test(memory_of_huge_pages_is_a_file_of_them),
		cmocka_unit_test(disks_pass_the_cache_by_where_they_are_told),
		cmocka_unit_test(volumes_are_devices_of_the_host),
		cmocka_unit_test(chosen_qemu_is_started),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
