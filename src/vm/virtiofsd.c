/* Who is virtiofsd? It acts for whoever the guest says that somebody is, and root of the guest says
 * what it likes. So it runs as the user, in a user namespace in which no other id is known:
 * becoming anybody else fails there, and all that it opens, it opens with the user's rights, those
 * of the user's groups included. Of root's rights in that namespace it has those that it needs to
 * hide the rest of the host from itself and to act for the user, and none over files. */
#include "vm/virtiofsd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "lib/child.h"
#include "lib/log.h"
#include "lib/path.h"

/* Where distributions put it. */
static const char *const programs[] = {
	"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"};

#define VERSION_MS  5000
#define VERSION_MAX 4096

/* In the helper's own view of the host, the directory is here. */
#define VIRTIOFSD_DIRECTORY "/sys"

/* What it keeps: to act for the user and for the user's groups, and, until it has done so, to shut
 * itself in. */
static const int capabilities[] = {CAP_SETUID, CAP_SETGID, CAP_SYS_ADMIN, CAP_SETPCAP};

/* What the program would take beside that, and cannot have. */
#define VIRTIOFSD_NOT "-chown:-dac_override:-fowner:-fsetid:-mknod:-setfcap"

/* For what the child does between fork and exec. */
struct virtiofsd_child {
	const struct gateway_host *host;
	const struct vm_share *share;
	bool is_root;
};

bool virtiofsd_version_is_rust(const char *text)
{
	const char *rest = str_after(text, "virtiofsd ");

	return rest && rest[0] >= '0' && rest[0] <= '9';
}

static int find_program(const char *setting, struct virtiofsd *ret, struct error *err)
{
	if (setting && setting[0]) {
		if (access(setting, X_OK) < 0)
			return fail_errno(err, -errno, "[vm] virtiofsd: '%s'", setting);
		snprintf(ret->program, sizeof(ret->program), "%s", setting);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (access(programs[i], X_OK) == 0) {
			snprintf(ret->program, sizeof(ret->program), "%s", programs[i]);
			return 0;
		}
	return fail(err, -ENOENT,
		"the program virtiofsd is not installed (Debian 12: it comes with "
		"qemu-system-common; later: apt install virtiofsd)");
}

/* The program gives up its groups when it starts, which are the user's and in a user's own
 * namespace cannot be given up: it is told that it has. */
static int keep_groups(void *userdata)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setgroups, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {ARRAY_SIZE(code), code};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

int virtiofsd_find(const char *setting, struct virtiofsd *ret, struct error *err)
{
	struct child_spec child = CHILD_SPEC_INIT;
	autofree char *text = NULL;
	int r = find_program(setting, ret, err);
	const char *const argv[] = {ret->program, "--version", NULL};

	if (r < 0)
		return r;
	child.argv = argv;
	child.no_new_privs = true;
	child.after_wait = keep_groups;
	r = child_output(&child, VERSION_MS, VERSION_MAX, &text, err);
	if (r < 0)
		return fail_within(err, "'%s --version'", ret->program), r;
	ret->is_rust = virtiofsd_version_is_rust(text);
	return 0;
}

/* A socket on which nobody but us is waiting to be accepted: its name is the kernel's choice, and
 * there is room for one. */
static int socket_open(int *ret_listening, int *ret_connected)
{
	autoclose int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	autoclose int connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t length = sizeof(address);

	if (listening < 0 || connected < 0 ||
		bind(listening, (const struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
		listen(listening, 0) < 0 ||
		getsockname(listening, (struct sockaddr *)&address, &length) < 0 ||
		connect(connected, (const struct sockaddr *)&address, length) < 0 ||
		fcntl(connected, F_SETFL, 0) < 0)
		return -errno;
	*ret_listening = TAKE_FD(listening);
	*ret_connected = TAKE_FD(connected);
	return 0;
}

static int write_map(pid_t pid, const char *name, const char *text)
{
	autofree char *path = path_format("/proc/%d/%s", (int)pid, name);
	autoclose int fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	return n < 0 ? -errno : 0;
}

/* What everybody may do: one's own user and group, and no other. */
static int map_own_group(pid_t pid)
{
	autofree char *map = path_format("%u %u 1", getegid(), getegid());
	int r = map ? write_map(pid, "setgroups", "deny") : -ENOMEM;

	return r < 0 ? r : write_map(pid, "gid_map", map);
}

/* Has the user other groups than the one that any user may map? */
static bool user_has_groups(void)
{
	gid_t groups[2];
	int n = getgroups(ARRAY_SIZE(groups), groups);

	return n < 0 || n > 1 || (n == 1 && groups[0] != getegid());
}

static int map_groups(const struct virtiofsd_child *c, pid_t pid)
{
	if (c->host->map_groups && c->host->map_groups(c->host->userdata, pid) == 0)
		return 0;
	if (user_has_groups())
		log_warning("in the VM, files below '%s' that are yours by your further groups are "
			    "not; the node's daemon would map these",
			c->share->source);
	return map_own_group(pid);
}

/* In the parent, while the child waits. */
static int on_waiting(pid_t pid, void *userdata, struct error *err)
{
	const struct virtiofsd_child *c = userdata;
	autofree char *map = path_format("%u %u 1", geteuid(), geteuid());
	int r = map ? 0 : -ENOMEM;

	if (c->is_root)
		return 0;
	if (r == 0)
		r = write_map(pid, "uid_map", map);
	if (r == 0)
		r = map_groups(c, pid);
	return r < 0 ? fail_errno(err, r, "cannot set up its user namespace") : 0;
}

static int before_wait(void *userdata)
{
	const struct virtiofsd_child *c = userdata;

	return unshare(CLONE_NEWNS | (c->is_root ? 0 : CLONE_NEWUSER)) < 0 ? -errno : 0;
}

/* Lays the directory, as the user finds it, over a place of our own. */
static int mount_directory(const struct vm_share *share)
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
	int fd = open(share->source, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fchdir(fd) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount(".", VIRTIOFSD_DIRECTORY, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	if (share->read_only && syscall(SYS_mount_setattr, AT_FDCWD, VIRTIOFSD_DIRECTORY,
					AT_RECURSIVE, &attributes, sizeof(attributes)) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}

/* To the program that is executed next, for what it may do. */
static int keep_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		data[0].effective |= 1u << capabilities[i];
	data[0].permitted = data[0].inheritable = data[0].effective;
	if (syscall(SYS_capset, &header, data) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capabilities[i], 0, 0) < 0)
			return -errno;
	return 0;
}

/* As many open files as the host lets us have: each that the guest knows of takes one. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int after_wait(void *userdata)
{
	const struct virtiofsd_child *c = userdata;
	int r;

	raise_limit();
	r = mount_directory(c->share);
	if (r == 0 && !c->is_root)
		r = keep_capabilities();
	return r < 0 || c->is_root ? r : keep_groups(NULL);
}

static void fill_argv(
	const struct virtiofsd *program, int listening, bool is_root, struct strv *argv)
{
	strv_add(argv, program->program);
	strv_add_format(argv, "--fd=%d", listening);
	strv_add(argv, "--rlimit-nofile=0");
	if (program->is_rust) {
		strv_add_all(argv, "--shared-dir", VIRTIOFSD_DIRECTORY, "--cache", "auto",
			"--log-level", "error", "--sandbox", is_root ? "namespace" : "none", NULL);
		return;
	}
	strv_add_all(argv, "-o", "source=" VIRTIOFSD_DIRECTORY, "-o", "cache=auto", "-o",
		"sandbox=namespace", "-o", "log_level=err", NULL);
	if (!is_root)
		strv_add_all(argv, "-o", "modcaps=" VIRTIOFSD_NOT, NULL);
}

static int explain_start(int r, struct error *err)
{
	if (r == -EPERM || r == -ENOSPC || r == -EUSERS)
		return fail(err, r,
			"this host lets users have no user namespaces (sysctl "
			"user.max_user_namespaces, kernel.unprivileged_userns_clone)");
	return r;
}

int virtiofsd_start(const struct virtiofsd *program, const struct gateway_host *host,
	const struct vm_share *share, struct gateway_helper *ret, struct error *err)
{
	struct virtiofsd_child c = {.host = host, .share = share, .is_root = geteuid() == 0};
	struct strv argv AUTO(strv_done) = {0};
	struct child_spec child = CHILD_SPEC_INIT;
	autoclose int listening = -1, connected = -1, messages = -1;
	int r = socket_open(&listening, &connected);

	if (r < 0)
		return fail_errno(err, r, "cannot make its socket");
	fill_argv(program, listening, c.is_root, &argv);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	messages = memfd_create("virtiofsd", MFD_CLOEXEC);
	child.argv = strv_list(&argv);
	child.stdout_fd = child.stderr_fd = messages;
	child.keep = &listening;
	child.keep_count = 1;
	child.new_session = true;
	child.unasked = true;
	child.no_new_privs = true;
	child.before_exec = on_waiting;
	child.before_wait = before_wait;
	child.after_wait = after_wait;
	child.userdata = &c;
	r = child_spawn(&child, &ret->pid, &ret->pidfd, err);
	if (r < 0)
		return explain_start(r, err);
	ret->fd = TAKE_FD(connected);
	ret->messages_fd = TAKE_FD(messages);
	return 0;
}
