#include "engine/settings.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "engine/site_file.h"
#include "lib/parse.h"
#include "lib/path.h"

#define SECOND UINT64_C(1000000)
#define MIB    UINT64_C(1048576)
#define TIB    (MIB * 1048576)

/* Where a cache of images begins to be emptied, or ends. */
#define WATER_DIGITS 24

int settings_parse_water(
	const char *text, uint64_t *ret_percent, uint64_t *ret_bytes, struct error *err)
{
	size_t n = strlen(text);
	char number[WATER_DIGITS];

	*ret_percent = *ret_bytes = 0;
	if (n > 1 && n < sizeof(number) && text[n - 1] == '%') {
		memcpy(number, text, n - 1);
		number[n - 1] = '\0';
		return parse_number(number, 1, 100, ret_percent, err);
	}
	return parse_size(text, ret_bytes, err);
}

static int check_water(const char *text, struct error *err)
{
	uint64_t percent, bytes;

	return settings_parse_water(text, &percent, &bytes, err);
}

static int check_url(const char *text, struct error *err)
{
	if (str_after(text, "http://") || str_after(text, "https://") || text[0] == '/')
		return 0;
	return fail(
		err, -EINVAL, "'%s' is no address; write http://HOST/PATH, or /DIRECTORY", text);
}

/* Of a volume group or pool; the text becomes part of commands and paths. */
static int check_lvm_name(const char *text, struct error *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_.-";
	size_t n = strspn(text, allowed);

	if (text[0] == '\0')
		return 0;
	if (n == 0 || text[n] != '\0' || n > 127 || text[0] == '-' || text[0] == '.')
		return fail(err, -EINVAL, "'%s' is no name of LVM's", text);
	return 0;
}

/* Of a benchmark's value. */
#define BENCHMARK_DIGITS 16

int settings_check_benchmark(const char *text, struct error *err)
{
	size_t whole = strspn(text, "0123456789"), part = 0;

	if (text[whole] == '.')
		part = strspn(text + whole + 1, "0123456789");
	if (whole == 0 || strlen(text) != whole + (part ? part + 1 : 0) ||
		strlen(text) > BENCHMARK_DIGITS)
		return fail(err, -EINVAL, "'%s' is no speed; write for example 15.3", text);
	return 0;
}

#define ROW(section, key, type, member, fallback, min, max, choices, help)                 \
	{                                                                                  \
		section, key, type, offsetof(struct settings, member), fallback, min, max, \
			choices, help                                                      \
	}

#define CHECKED(section, key, type, member, fallback, check, help)                                 \
	{                                                                                          \
		section, key, type, offsetof(struct settings, member), fallback, 0, 0, NULL, help, \
			check                                                                      \
	}

const struct conf_setting settings_table[] = {
	ROW("run", "image", CONF_STRING, image, "debian", 0, 0, NULL,
		"Image that a VM starts from when --image is not given."),
	ROW("run", "cpus", CONF_NUMBER, cpus, "1", 1, 256, NULL, "Virtual CPUs of a VM."),
	ROW("run", "memory", CONF_SIZE, memory, "1G", 16 * MIB, 64 * TIB, NULL, "Memory of a VM."),
	ROW("run", "scratch", CONF_SIZE, scratch, "0", 0, 0, NULL,
		"Size of the scratch disk on /scratch and /tmp; 0 means none."),
	ROW("run", "disk_iops", CONF_NUMBER, disk_iops, "0", 0, 100000000, NULL,
		"How many times a second a VM may read or write its disks; 0 means no limit."),
	ROW("run", "disk_rate", CONF_SIZE, disk_rate, "0", 0, 0, NULL,
		"How many bytes a second a VM may read from its disks and write to them; 0 means no "
		"limit."),
	CHECKED("run", "network", CONF_STRING, network, "user", network_check_name,
		"Network of a VM: none, user (the VM reaches out, nothing reaches in), or the name of one "
		"of the node's networks, [network NAME]; bridge is the first of them."),
	ROW("run", "env", CONF_STRINGS, env, NULL, 0, 0, NULL,
		"Environment variable for the command, as --env; may be repeated."),
	ROW("run", "mount", CONF_STRINGS, mount, NULL, 0, 0, NULL,
		"Host directory for the VM, as --mount; may be repeated."),
	ROW("run", "timeout", CONF_DURATION, timeout, "0", 0, 0, NULL,
		"Longest time that a command may run; 0 means no limit."),
	ROW("run", "start", CONF_CHOICE, start, "auto", 0, 0, SETTINGS_STARTS,
		"How a VM starts: clone (from a template of the image), boot, or auto: clone where "
		"there is a template, else boot, and make one for the next time."),
	ROW("vm", "accel", CONF_CHOICE, accel, "auto", 0, 0, "auto|kvm|tcg",
		"Accelerator: kvm, tcg (software emulation), or auto, which tries."),
	ROW("vm", "qemu", CONF_STRING, qemu, NULL, 0, 0, NULL,
		"QEMU program; found in PATH when not set."),
	ROW("vm", "huge_pages", CONF_CHOICE, huge_pages, "no", 0, 0, "no|auto|yes",
		"Memory of huge pages: no, auto (a VM that boots has them if enough are free; a clone "
		"has none), or yes (all VMs boot, and fail where there are not enough)."),
	ROW("vm", "disk_cache", CONF_CHOICE, disk_cache, "host", 0, 0, "host|none",
		"Whether what VMs write to their disks goes through the host's page cache (host), or "
		"past it (none) where the file system can."),
	ROW("vm", "disk_aio", CONF_CHOICE, disk_aio, "auto", 0, 0, "auto|io_uring|native|threads",
		"How disks are read and written without the cache; auto, and io_uring where the host "
		"does not allow it: native."),
	ROW("vm", "disk_thread", CONF_BOOL, disk_thread, "no", 0, 0, NULL,
		"Whether a VM's disks have a thread of their own beside QEMU's main loop."),
	ROW("vm", "cpu_pinning", CONF_BOOL, cpu_pinning, "no", 0, 0, NULL,
		"Whether each virtual CPU is kept on a CPU of its own where a job has exactly as many "
		"CPUs as its VM."),
	ROW("vm", "directory", CONF_STRING, directory, NULL, 0, 0, NULL,
		"Directory for what VMs write, overlays and scratch disks; the cache directory when "
		"not set."),
	ROW("vm", "root", CONF_CHOICE, root, "overlay", 0, 0, SETTINGS_ROOTS,
		"What a VM's root disk is: overlay (a file, over the image that all VMs read) or lvm (a "
		"snapshot, on a volume of the node's volume group; such VMs boot)."),
	ROW("vm", "broker", CONF_STRING, broker, "auto", 0, 0, NULL,
		"Socket of the node's daemon, which lends a VM what it is started from; auto: the usual "
		"one if it answers, else the user's own rights do; none: never."),
	ROW("vm", "gateway", CONF_CHOICE, gateway, "auto", 0, 0, SETTINGS_GATEWAYS,
		"How host directories get into a VM where --mount does not say it; auto: by the "
		"best way that VM and host have, see docs/storage.md."),
	ROW("vm", "virtiofsd", CONF_STRING, virtiofsd, NULL, 0, 0, NULL,
		"Program of the gateway virtiofs; looked for in the usual places when not set."),
	ROW("vm", "user_network", CONF_CHOICE, user_network, "qemu", 0, 0, "qemu|passt",
		"What serves the network user: QEMU itself, or passt, a program beside it, which sends "
		"several times as fast and receives slower (docs/network.md)."),
	ROW("template", "automatic", CONF_BOOL, template_automatic, "yes", 0, 0, NULL,
		"Whether wnodes run makes a template in the background when it has booted a VM."),
	ROW("template", "budget", CONF_SIZE, template_budget, "8G", 0, 0, NULL,
		"Room that templates may take on the disk; those that were not used for the longest "
		"time go first."),
	ROW("template", "memory", CONF_CHOICE, template_memory, "shared", 0, 0, "shared|own",
		"Memory of clones: shared (each maps the template's, and has only what it changes "
		"for itself) or own (a copy, from which what is freed goes back to the host)."),
	ROW("deadline", "clone", CONF_DURATION, clone, "20s", SECOND, 3600 * SECOND, NULL,
		"How long a clone may take until its agent answers; then the VM boots."),
	ROW("deadline", "boot", CONF_DURATION, boot, "3m", SECOND, 3600 * SECOND, NULL,
		"How long a VM may take until its agent answers."),
	ROW("deadline", "prepare", CONF_DURATION, prepare, "1m", SECOND, 3600 * SECOND, NULL,
		"How long account, mounts and network may take."),
	ROW("deadline", "gather", CONF_DURATION, gather, "10m", SECOND, 24 * 3600 * SECOND, NULL,
		"How long the first task of a job with --vm-mpi waits for the VMs of all others."),
	ROW("deadline", "stop", CONF_DURATION, stop, "20s", SECOND, 3600 * SECOND, NULL,
		"How long a VM may take to write back its shares when the command has ended."),
	ROW("deadline", "grace", CONF_DURATION, grace, "10s", 0, 3600 * SECOND, NULL,
		"How long a command may go on after SIGTERM before its VM is ended."),
	ROW("node", "vms", CONF_NUMBER, node_vms, "0", 0, 100000, NULL,
		"How many VMs a node runs at a time; 0, here and below, means no limit."),
	ROW("node", "memory", CONF_SIZE, node_memory, "0", 0, 0, NULL,
		"Memory that all VMs of a node may have together."),
	ROW("node", "user_vms", CONF_NUMBER, node_user_vms, "0", 0, 100000, NULL,
		"How many VMs of a node one user may have."),
	ROW("node", "user_memory", CONF_SIZE, node_user_memory, "0", 0, 0, NULL,
		"Memory that the VMs of one user may have together."),
	ROW("node", "image_vms", CONF_NUMBER, node_image_vms, "0", 0, 100000, NULL,
		"How many VMs of a node may be of the same image."),
	ROW("node", "vm_disk", CONF_SIZE, node_vm_disk, "1T", MIB, 64 * TIB, NULL,
		"Largest scratch disk of a VM, and most that a VM may write to its root disk."),
	ROW("node", "disk_iops", CONF_NUMBER, node_disk_iops, "0", 0, 100000000, NULL,
		"Most that a VM of a node may have as [run] disk_iops."),
	ROW("node", "disk_rate", CONF_SIZE, node_disk_rate, "0", 0, 0, NULL,
		"Most that a VM of a node may have as [run] disk_rate."),
	ROW("node", "scratch", CONF_CHOICE, node_scratch, "auto", 0, 0,
		"auto|lvm|sparse|preallocated",
		"What scratch disks are: lvm (a volume of volume_group), sparse (a file that grows), "
		"preallocated (a file whose room is taken at once), or auto: a volume where there is a "
		"volume group, else a sparse file."),
	CHECKED("node", "volume_group", CONF_STRING, node_volume_group, NULL, check_lvm_name,
		"LVM's volume group in which a node makes volumes for its VMs; none when not set."),
	CHECKED("node", "thin_pool", CONF_STRING, node_thin_pool, "wnodes", check_lvm_name,
		"Thin pool of that volume group."),
	ROW("node", "volumes_ready", CONF_NUMBER, node_volumes_ready, "2", 0, 1000, NULL,
		"How many volumes, of the size that was asked for last, a node keeps ready, so that no "
		"VM waits for LVM."),
	ROW("node", "volumes", CONF_STRING, node_volumes, NULL, 0, 0, NULL,
		"Directory, for root alone, in which a node of a site keeps the data of volumes; none "
		"when not set."),
	ROW("node", "volume_address", CONF_STRING, node_volume_address, NULL, 0, 0, NULL,
		"Name or address by which other nodes reach the volumes here; the node's name at the "
		"site when not set."),
	ROW("node", "volume_port", CONF_NUMBER, node_volume_port, "10809", 1, 64000, NULL,
		"First of the thousand TCP ports at which volumes are served to other nodes, one for "
		"each VM that uses one."),
	ROW("node", "queue", CONF_NUMBER, node_queue, "1000", 0, 100000, NULL,
		"How many VMs may wait for one of these limits; with 0 none waits, all are refused."),
	ROW("node", "connections", CONF_NUMBER, node_connections, "256", 1, 100000, NULL,
		"Connections that one user may have to a node's daemon."),
	ROW("node", "requests", CONF_NUMBER, node_requests, "500", 10, 1000000, NULL,
		"Requests a second that a node's daemon hears from one user; more are heard later."),
	ROW("node", "template_memory", CONF_SIZE, node_template_memory, "2G", 0, 0, NULL,
		"Memory in which a node keeps its templates ready; those that were not used for the "
		"longest time go first."),
	ROW("node", "templates_an_hour", CONF_NUMBER, node_templates_an_hour, "20", 0, 100000, NULL,
		"How many templates one user's VMs may make a node try to make in an hour."),
	ROW("node", "user", CONF_STRING, node_user, "wnodes", 0, 0, NULL,
		"Account, or number, of the user without rights who makes a node's templates."),
	ROW("node", "administrators", CONF_STRINGS, node_administrators, NULL, 0, 0, NULL,
		"User, or @group, who may drain and resume a node beside root; may be repeated."),
	ROW("node", "failures", CONF_NUMBER, node_failures, "3", 0, 1000, NULL,
		"After how many VMs in a row that did not start a node starts one of its own, and drains "
		"itself if that does not start either; 0 means never."),
	ROW("node", "lrms", CONF_CHOICE, node_lrms, "auto", 0, 0, "auto|none|slurm",
		"Batch system that is told when a node drains itself; auto: Slurm if it has scontrol."),
	ROW("node", "name", CONF_STRING, node_name, NULL, 0, 0, NULL,
		"Name of the node in the batch system; the short host name when not set."),
	ROW("node", "nfs", CONF_BOOL, node_nfs, "no", 0, 0, NULL,
		"Whether VMs on the node's networks may have host directories by its NFS server, which "
		"must run (--mount DIR:gateway=nfs)."),
	ROW("node", "vlans", CONF_WORDS, node_vlans, NULL, 0, 0, NULL,
		"Numbers of the VLANs, or ranges such as 100-199, that networks of VMs may use on this "
		"node; all when not set."),
	ROW("node", "name_hook", CONF_STRING, node_name_hook, NULL, 0, 0, NULL,
		"Program that is run as [node] user when a VM on a network of the node has got a name "
		"and an address by a lease, and when it has ended: PROGRAM add|remove NAME ADDRESS MAC "
		"[IPV6-ADDRESS]; for a DNS or DHCP that names come and go in."),
	ROW("node", "job_port", CONF_NUMBER, node_job_port, "7118", 0, 65535, NULL,
		"UDP port of the networks between the VMs of a job on several nodes, the same on all "
		"nodes; 0: this node has none such."),
	ROW("node", "job_hosts", CONF_WORDS, node_job_hosts,
		"10.0.0.0/8 172.16.0.0/12 192.168.0.0/16", 0, 0, NULL,
		"Networks in which the nodes of such a job may be."),
	ROW("lrms", "type", CONF_CHOICE, lrms_type, "auto", 0, 0, "auto|local|slurm",
		"Batch system of wnodes submit: slurm, local (a queue of your own on this machine), "
		"or auto: slurm where SLURM_CONF is set or a controller answers, else local."),
	ROW("lrms", "cpus", CONF_NUMBER, lrms_cpus, "0", 0, 0, NULL,
		"CPUs that the jobs of the local queue may have together; 0 means all."),
	ROW("lrms", "memory", CONF_SIZE, lrms_memory, "0", 0, 0, NULL,
		"Memory that the jobs of the local queue may have together; 0 means nine tenths of "
		"the machine's."),
	ROW("lrms", "grace", CONF_DURATION, lrms_grace, "30s", 0, 3600 * SECOND, NULL,
		"How long a job of the local queue may go on after SIGTERM; a VM has its own grace "
		"within this."),
	ROW("lrms", "requeues", CONF_NUMBER, lrms_requeues, "3", 0, 1000, NULL,
		"How often a batch job goes back into the queue because its VM did not start on a "
		"node."),
	ROW("lrms", "keep", CONF_DURATION, lrms_keep, "720h", 0, 0, NULL,
		"How long jobs that have ended are listed."),
	ROW("record", "file", CONF_STRING, record_file, NULL, 0, 0, NULL,
		"File that the usage records of your VMs are added to, but of those that a node's "
		"daemon has lent, which keeps them itself; none: nowhere. When not set, "
		"$XDG_STATE_HOME/wnodes/records.jsonl for the VMs of jobs, and nowhere for others."),
	ROW("record", "site", CONF_STRING, record_site, NULL, 0, 0, NULL,
		"Name of the site in the records that wnodes record export writes for APEL, as GOCDB "
		"has it."),
	ROW("record", "submit_host", CONF_STRING, record_submit_host, NULL, 0, 0, NULL,
		"Host that jobs come from, in records for APEL: the computing element."),
	ROW("record", "infrastructure", CONF_STRING, record_infrastructure, NULL, 0, 0, NULL,
		"What ran the jobs, in records for APEL; when not set, APEL-WNODES- and the batch "
		"system's name."),
	ROW("record", "infrastructure_type", CONF_CHOICE, record_infrastructure_type, "local", 0, 0,
		"grid|local", "Whose jobs they are, in records for APEL."),
	ROW("record", "cloud_service", CONF_STRING, record_cloud_service, NULL, 0, 0, NULL,
		"Name of the service that gives VMs, in records of clouds for APEL."),
	ROW("record", "benchmark", CONF_CHOICE, record_benchmark, "none", 0, 0, SETTINGS_BENCHMARKS,
		"What the speed of a CPU is measured in, in records for APEL."),
	{"record", "benchmark_value", CONF_STRING,
		offsetof(struct settings, record_benchmark_value), "0", 0, 0, NULL,
		"Speed of one CPU of the site in that benchmark, for example 15.3; 0: not known.",
		settings_check_benchmark},
	ROW("site", "controllers", CONF_STRINGS, site_controllers, NULL, 0, 0, NULL,
		"Address of a controller of the site, https://HOST:PORT or unix:/PATH; may be repeated, "
		"and one that answers is taken. When not set, this machine's own controller, if it runs "
		"here."),
	ROW("site", "ca", CONF_STRING, site_ca, NULL, 0, 0, NULL,
		"File with the certificate of the site's own authority (PEM), by which controllers are "
		"known; the system's authorities when not set."),
	ROW("site", "token_file", CONF_STRING, site_token_file, NULL, 0, 0, NULL,
		"File with a token that says to controllers who you are, where neither their socket nor "
		"MUNGE does; only you may read it."),
	ROW("site", "munge", CONF_CHOICE, site_munge, "auto", 0, 0, "auto|yes|no",
		"Whether MUNGE says to controllers who you are; auto: where munged runs and there is no "
		"token."),
	ROW("site", "heartbeat", CONF_DURATION, site_heartbeat, "30s", SECOND, 3600 * SECOND, NULL,
		"How often a node tells the controllers what it runs."),
	ROW("site", "autonomy", CONF_DURATION, site_autonomy, "24h", 0, 0, NULL,
		"How long a node goes on starting jobs when no controller answers."),
	ROW("site", "user", CONF_STRING, site_user, "wnodes-courier", 0, 0, NULL,
		"Account of the user without rights who speaks with the controllers for a node; nobody "
		"where there is no such account."),
	ROW("site", "pool", CONF_STRING, site_pool, NULL, 0, 0, NULL,
		"Pool of names and addresses for a node's VMs, of which the node keeps some ready; none "
		"when not set."),
	ROW("site", "lease_block", CONF_NUMBER, site_lease_block, "16", 1, 1024, NULL,
		"How many names and addresses a node keeps ready."),
	ROW("images", "local_images", CONF_BOOL, images_local, "yes", 0, 0, NULL,
		"Whether VMs of a node of a site may start from images that the site's catalogue does "
		"not know: those of the node's own store, and users' own."),
	CHECKED("images", "origins", CONF_STRINGS, images_origins, NULL, check_url,
		"Depots that images are fetched from: addresses, http://HOST/PATH, and directories that the "
		"node mounts; may be repeated; the controllers' own when not set."),
	ROW("images", "listen", CONF_STRING, images_listen, "0.0.0.0:8444", 0, 0, NULL,
		"ADDRESS:PORT at which a node of a site gives other nodes of it what it has of images; "
		"none: it gives nothing."),
	ROW("images", "address", CONF_STRING, images_address, NULL, 0, 0, NULL,
		"How other nodes reach that, as https://HOST:PORT; the node's name and the port of listen "
		"when not set."),
	ROW("images", "rack", CONF_STRING, images_rack, NULL, 0, 0, NULL,
		"Where the node stands: images are fetched from nodes with the same word first."),
	ROW("images", "rate", CONF_SIZE, images_rate, "0", 0, 0, NULL,
		"How many bytes a second of images a node gives to others at most; 0: no limit."),
	ROW("images", "slots", CONF_NUMBER, images_slots, "8", 1, 1000, NULL,
		"How many nodes are given something at a time."),
	CHECKED("images", "high_water", CONF_STRING, images_high_water, "85%", check_water,
		"How full the file system of a node's images may be (such as 85%), or how much room "
		"fetched ones may take (such as 200G), before those not used for the longest time go."),
	CHECKED("images", "low_water", CONF_STRING, images_low_water, "75%", check_water,
		"To which they go then, in the same measure."),
	ROW("images", "pinned", CONF_STRINGS, images_pinned, NULL, 0, 0, NULL,
		"Image, NAME[:TAG] or a digest, that a node keeps ready, once it has it; may be "
		"repeated."),
	{.key = NULL},
};

const char *settings_site_file(void)
{
	return WNODES_SYSCONFDIR "/wnodes.conf";
}

const char *settings_pushed_file(void)
{
	return "/var/lib/wnodes/" SETTINGS_PUSHED;
}

static int settings_load_site(
	struct settings *s, const char *pushed, const char *path, struct error *err)
{
	struct site_file unused AUTO(site_file_done);

	return site_file_load_over(&unused, s, pushed, path, err);
}

int settings_load(struct settings *ret, struct error *err)
{
	autofree char *directory = path_config();
	autofree char *path = directory ? path_format("%s/wnodes.conf", directory) : NULL;
	int r;

	*ret = (struct settings){0};
	if (!path)
		return fail(err, -ENOMEM, "out of memory");
	r = conf_init(settings_table, ret, err);
	if (r == 0)
		r = settings_load_site(ret, settings_pushed_file(), settings_site_file(), err);
	if (r == 0)
		r = site_file_load_user(ret, path, err);
	if (r < 0)
		settings_done(ret);
	return r;
}

int settings_load_from(
	struct settings *ret, const char *pushed, const char *path, struct error *err)
{
	int r;

	*ret = (struct settings){0};
	if (path && access(path, F_OK) < 0)
		return fail(err, -errno, "cannot read %s: %s", path, strerror(errno));
	r = conf_init(settings_table, ret, err);
	if (r == 0)
		r = settings_load_site(ret, pushed, path ? path : settings_site_file(), err);
	if (r < 0)
		settings_done(ret);
	return r;
}

void settings_done(struct settings *s)
{
	conf_done(settings_table, s);
}
