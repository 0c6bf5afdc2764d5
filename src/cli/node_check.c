/* wnodes node check: what this node can do for VMs. Every check is a row: what it is, a function
 * that looks, and what to do where it is missing. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "cli/node.h"
#include "cli/table.h"
#include "engine/broker.h"
#include "engine/tuning.h"
#include "lib/child.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "vm/qemu.h"

#define CHECK_TEXT_MAX   200
#define CHECK_PROGRAM_MS 10000
#define CHECK_WORD_MAX   64

struct check_options {
	bool json;
};

struct looking {
	const struct settings *settings;
	char text[CHECK_TEXT_MAX]; /* what was found, or why not */
};

static bool found(struct looking *l, const char *text)
{
	snprintf(l->text, sizeof(l->text), "%s", text);
	return true;
}

static bool missing(struct looking *l, const char *text)
{
	snprintf(l->text, sizeof(l->text), "%s", text);
	return false;
}

static bool look_for_program(struct looking *l, const char *name)
{
	autofree char *search = path_search();
	autofree char *file = search ? path_find_program(search, name) : NULL;

	return file ? found(l, file) : missing(l, "not installed");
}

static bool look_for_qemu(struct looking *l)
{
	autofree char *program = qemu_find(l->settings->qemu);
	const char *argv[] = {program, "--version", NULL};
	struct child_spec child = CHILD_SPEC_INIT;
	autofree char *text = NULL;

	child.argv = argv;
	if (!program)
		return missing(l, "not installed");
	if (child_output(&child, CHECK_PROGRAM_MS, 4096, &text, NULL) < 0)
		return missing(l, "does not run");
	text[strcspn(text, "\n")] = '\0';
	return found(l, text);
}

/* That the device opens says little: it must be able to make a VM. */
static bool look_for_kvm(struct looking *l)
{
	autoclose int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	autoclose int vm = -1;

	if (kvm < 0)
		return missing(l, errno == ENOENT ? "no /dev/kvm" : strerror(errno));
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return missing(l, "/dev/kvm opens, but makes no VM");
	return found(l, "/dev/kvm");
}

static bool look_for_huge_pages(struct looking *l)
{
	unsigned long long mib = tuning_huge_mib();

	snprintf(l->text, sizeof(l->text),
		mib ? "%llu MiB free; [vm] huge_pages = %s"
		    : "%llu MiB free (vm.nr_hugepages); [vm] huge_pages = %s",
		mib, l->settings->huge_pages);
	return mib > 0;
}

/* The first word of a file of the kernel. */
static bool kernel_says(const char *path, char ret[CHECK_WORD_MAX])
{
	autofree char *text = NULL;
	size_t length;

	if (file_read(AT_FDCWD, path, 65536, &text, &length) < 0)
		return false;
	snprintf(ret, CHECK_WORD_MAX, "%.*s", (int)strcspn(text, "\n"), text);
	return true;
}

static bool look_for_ksm(struct looking *l)
{
	char run[CHECK_WORD_MAX];

	if (!kernel_says("/sys/kernel/mm/ksm/run", run))
		return missing(l, "not in this kernel");
	return streq(run, "1")
		       ? found(l, "on: VMs share equal pages")
		       : missing(l, "off: /sys/kernel/mm/ksm/run is not 1; the host's "
				    "administrator decides, as VMs see something of each other");
}

static bool look_for_numa(struct looking *l)
{
	char nodes[CHECK_WORD_MAX];

	if (!kernel_says("/sys/devices/system/node/online", nodes))
		return missing(l, "not in this kernel");
	snprintf(l->text, sizeof(l->text),
		"nodes %s; memory is taken where the job's CPUs are; [vm] cpu_pinning = %s", nodes,
		l->settings->cpu_pinning ? "yes" : "no");
	return true;
}

static bool look_for_io_uring(struct looking *l)
{
	if (tuning_has_io_uring())
		snprintf(l->text, sizeof(l->text), "usable; [vm] disk_cache = %s, disk_aio = %s",
			l->settings->disk_cache, l->settings->disk_aio);
	else
		snprintf(l->text, sizeof(l->text),
			"not allowed (kernel.io_uring_disabled, or no such kernel); native serves");
	return tuning_has_io_uring();
}

static bool look_for_direct_disks(struct looking *l)
{
	autofree char *cache = path_cache();
	const char *set = l->settings->directory;
	const char *directory = set && set[0]                          ? set
				: access("/var/lib/wnodes", W_OK) == 0 ? "/var/lib/wnodes"
								       : cache;
	autoclose int fd = directory ? file_open_temporary(directory) : -1;

	if (fd < 0)
		return missing(l, "no file can be made there");
	snprintf(l->text, sizeof(l->text), "%.80s: %s; [vm] disk_cache = %s", directory,
		tuning_is_direct(fd) ? "O_DIRECT" : "no O_DIRECT, the page cache is used",
		l->settings->disk_cache);
	return tuning_is_direct(fd);
}

static bool look_for_disk_thread(struct looking *l)
{
	snprintf(l->text, sizeof(l->text), "[vm] disk_thread = %s; a disk has a queue for each CPU",
		l->settings->disk_thread ? "yes" : "no");
	return l->settings->disk_thread;
}

/* Opened by the daemon: that it is there is what counts. */
static bool look_for_vhost(struct looking *l)
{
	return access("/dev/vhost-net", F_OK) == 0
		       ? found(l,
				 "/dev/vhost-net, for VMs that boot with KVM; [network NAME] vhost")
		       : missing(l, "no /dev/vhost-net (module vhost_net)");
}

static bool look_for_queues(struct looking *l)
{
	autoclose int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	unsigned int features = 0;

	if (tun < 0)
		return missing(
			l, errno == ENOENT ? "no /dev/net/tun (module tun)" : strerror(errno));
	if (ioctl(tun, TUNGETFEATURES, &features) < 0 || !(features & IFF_MULTI_QUEUE))
		return missing(l, "not in this kernel: a card has one queue");
	return found(l, "a queue for each CPU, from 4 CPUs on; [network NAME] queues");
}

/* Loaded, built in, or there to be loaded. */
static bool look_for_vlan(struct looking *l)
{
	autofree char *path = NULL, *text = NULL;
	struct utsname host;
	size_t length;

	if (access("/sys/module/8021q", F_OK) == 0 || access("/proc/net/vlan", F_OK) == 0)
		return found(l, "loaded");
	uname(&host);
	path = path_format("/lib/modules/%s/modules.dep", host.release);
	if (path && file_read(AT_FDCWD, path, 16 << 20, &text, &length) == 0 &&
		strstr(text, "/8021q.ko"))
		return found(l, "module 8021q");
	return missing(l, "no module 8021q");
}

static bool look_for_lvm(struct looking *l)
{
	const char *group = l->settings->node_volume_group;

	if (!look_for_program(l, "lvcreate"))
		return false;
	if (!group || !group[0])
		return missing(l,
			"installed, but [node] volume_group is not set: scratch disks are files");
	snprintf(l->text, sizeof(l->text), "thin pool %.60s/%.60s; [node] scratch = %s", group,
		l->settings->node_thin_pool, l->settings->node_scratch);
	return true;
}

static bool look_for_virtiofsd(struct looking *l)
{
	static const char *const places[] = {
		"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd"};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			return found(l, places[i]);
	return look_for_program(l, "virtiofsd");
}

static bool look_for_cgroup(struct looking *l)
{
	struct statfs fs;

	if (statfs("/sys/fs/cgroup", &fs) < 0)
		return missing(l, "not mounted");
	return found(l, fs.f_type == CGROUP2_SUPER_MAGIC ? "version 2" : "version 1");
}

static bool look_for_memory(struct looking *l)
{
	autofree char *text = NULL;
	size_t length;
	const char *line = NULL;

	if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, &length) == 0)
		line = strstr(text, "MemAvailable:");
	if (!line)
		return missing(l, "not known");
	format_size(strtoull(line + 13, NULL, 10) * 1024, l->text);
	return true;
}

static bool look_for_disk(struct looking *l)
{
	const char *directory =
		access("/var/lib/wnodes", F_OK) == 0 ? "/var/lib/wnodes" : "/var/lib";
	struct statvfs fs;

	if (statvfs(directory, &fs) < 0)
		return missing(l, strerror(errno));
	format_size((uint64_t)fs.f_bavail * fs.f_frsize, l->text);
	return fs.f_bavail > 0;
}

static bool look_for_daemon(struct looking *l)
{
	json_t *question = json_pack("{s:s}", "op", "node"), *answer = NULL;
	struct error err = {0};
	int r = broker_ask(l->settings->broker, question, &answer, &err);
	const char *reason = json_string_value(json_object_get(
		json_object_get(json_object_get(answer, "node"), "drain"), "reason"));

	if (r < 0)
		missing(l, "does not answer");
	else if (reason)
		snprintf(l->text, sizeof(l->text), "drained: %.150s", reason);
	else
		found(l, "takes VMs");
	json_decref(question);
	json_decref(answer);
	return r == 0;
}

static const struct {
	const char *name, *title;
	bool (*look)(struct looking *l);
	bool needed; /* else something is slower, or not offered */
} checks[] = {
	{"qemu", "QEMU", look_for_qemu, true},
	{"kvm", "KVM", look_for_kvm, false},
	{"cgroup", "cgroups", look_for_cgroup, true},
	{"memory", "free memory", look_for_memory, true},
	{"disk", "free disk", look_for_disk, true},
	{"huge_pages", "huge pages", look_for_huge_pages, false},
	{"ksm", "equal pages (KSM)", look_for_ksm, false},
	{"numa", "NUMA", look_for_numa, false},
	{"io_uring", "io_uring", look_for_io_uring, false},
	{"direct_disks", "direct disks", look_for_direct_disks, false},
	{"disk_thread", "disk threads", look_for_disk_thread, false},
	{"vhost", "vhost", look_for_vhost, false},
	{"queues", "queues of cards", look_for_queues, false},
	{"vlan", "VLANs", look_for_vlan, false},
	{"lvm", "LVM", look_for_lvm, false},
	{"virtiofsd", "virtiofsd", look_for_virtiofsd, false},
	{"daemon", "wnodes-hypervisor", look_for_daemon, false},
};

static const struct table_column columns[] = {
	{"title", "WHAT", TABLE_TEXT},
	{"usable", "USABLE", TABLE_TEXT},
	{"found", "FOUND", TABLE_TEXT},
	{.key = NULL},
};

static int run_check(const void *options, int arg_count, const char *const *args)
{
	const struct check_options *o = options;
	struct table *table AUTO(table_freep) = table_new(columns);
	struct settings settings AUTO(settings_done) = {0};
	struct looking looking = {.settings = &settings};
	struct error err = {0};
	bool good = true;
	int r = settings_load(&settings, &err);

	for (size_t i = 0; i < ARRAY_SIZE(checks) && r == 0; i++) {
		bool usable = checks[i].look(&looking);

		good &= usable || !checks[i].needed;
		r = table ? table_add(table,
				    json_pack("{s:s, s:s, s:b, s:b, s:s}", "name", checks[i].name,
					    "title", checks[i].title, "usable", usable, "needed",
					    checks[i].needed, "found", looking.text))
			  : -ENOMEM;
	}
	if (r == 0)
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	if (r < 0)
		log_error("%s", err.text[0] ? err.text : strerror(-r));
	return r < 0 ? EXIT_WNODES : good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const struct verb_option options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct check_options, json), .help = "Prints JSON"},
	{.name = NULL},
};

const struct verb verb_node_check = {
	.name = "node check",
	.synopsis = "[options]",
	.summary = "Tell what this node can do for VMs",
	.about =
		"Looks at QEMU and KVM, cgroups, free memory and disk, huge pages, KSM, NUMA, io_uring, "
		"vhost, queues of cards, VLANs, LVM, virtiofsd and the node's daemon, and says what "
		"is used of it. The exit status is 1 if something is missing that no VM runs "
		"without; what else is missing makes VMs slower, or is not offered.",
	.examples = "wnodes node check\n"
		    "wnodes node check --json\n",
	.options = options,
	.options_size = sizeof(struct check_options),
	.run = run_check,
};
