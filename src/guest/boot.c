/* Everything is a system call of this one process: the usual initrd is a shell that starts a
 * hundred programs, and each of them costs 20-30 ms under emulation.
 *
 * Without `wnodes.init=` the process simply stays, with its text pinned in the initramfs that was
 * emptied behind it. So any root file system can be a worker, whatever init it has, or none.
 */
#include "guest/boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "guest/cmdline.h"
#include "guest/console.h"
#include "guest/disk.h"
#include "guest/module.h"
#include "guest/mount.h"
#include "guest/network.h"
#include "guest/now.h"

#define BOOT_NEW_ROOT     "/newroot"
#define BOOT_ROOT_WAIT_MS 10000

/* From linux/magic.h. */
#define BOOT_RAMFS_MAGIC 0x858458f6
#define BOOT_TMPFS_MAGIC 0x01021994

struct boot_mount {
	const char *target, *type;
	unsigned long flags;
	const char *options;
};

/* Needed before anything else, and moved to the new root. */
static const struct boot_mount kernel_mounts[] = {
	{"/dev", "devtmpfs", MS_NOSUID, "mode=0755"},
	{"/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
	{"/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
};

/* Needed by programs. */
static const struct boot_mount system_mounts[] = {
	{"/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
	{"/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
	{"/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"},
	{"/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
};

/* What udev would make. */
static const struct {
	const char *path, *target;
} boot_links[] = {
	{"/dev/fd", "/proc/self/fd"},
	{"/dev/stdin", "/proc/self/fd/0"},
	{"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"},
};

bool boot_is_initrd(void)
{
	struct statfs fs;

	if (getpid() != 1 || statfs("/", &fs) < 0)
		return false;
	return fs.f_type == BOOT_RAMFS_MAGIC || fs.f_type == BOOT_TMPFS_MAGIC;
}

/* The kernel could give no console if the initramfs had no such node. */
static void boot_open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	for (int i = STDIN_FILENO; fd >= 0 && i <= STDERR_FILENO; i++)
		dup2(fd, i);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int boot_mount(const struct boot_mount *m)
{
	mkdir(m->target, 0755);
	if (mount(m->type, m->target, m->type, m->flags, m->options) < 0 && errno != EBUSY)
		return -errno;
	return 0;
}

static int boot_mount_kernel(struct error *err)
{
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(kernel_mounts); i++) {
		r = boot_mount(&kernel_mounts[i]);
		if (r < 0)
			return fail_errno(err, r, "cannot mount '%s'", kernel_mounts[i].target);
	}
	boot_open_console();
	console_init();
	return 0;
}

static int boot_wait_device(const char *name, char *ret, size_t size, struct error *err)
{
	int64_t deadline = now_ms() + BOOT_ROOT_WAIT_MS;

	while (mount_find_device(name, ret, size) < 0) {
		if (now_ms() >= deadline)
			return fail(err, -ENODEV,
				"root device '%s' did not appear within %d s; are its driver's "
				"modules in the initrd?",
				name, BOOT_ROOT_WAIT_MS / 1000);
		now_sleep_ms(2);
	}
	return 0;
}

/* Tries the types that the kernel knows and that live on disks. */
static int boot_mount_any(const char *device, unsigned long flags, const char *options)
{
	char text[4096], *save = NULL;
	int r = -ENODEV;

	if (disk_read("/proc/filesystems", text, sizeof(text)) < 0)
		return -ENODEV;
	for (char *p = strtok_r(text, "\n", &save); p && r < 0; p = strtok_r(NULL, "\n", &save))
		if (*p == '\t')
			r = mount(device, BOOT_NEW_ROOT, p + 1, flags, options) < 0 ? -errno : 0;
	return r;
}

static int boot_mount_root(struct error *err)
{
	char root[PATH_MAX], device[PATH_MAX], type[32], options[512];
	unsigned long flags = cmdline_has("ro") ? MS_RDONLY : 0;
	bool has_options, has_type;
	int r;

	if (!cmdline_get("root", root, sizeof(root)))
		return fail(err, -EINVAL, "the kernel command line has no root=");
	has_type = cmdline_get("rootfstype", type, sizeof(type));
	has_options = cmdline_get("rootflags", options, sizeof(options));
	r = boot_wait_device(root, device, sizeof(device), err);
	if (r < 0)
		return r;
	mkdir(BOOT_NEW_ROOT, 0755);
	if (has_type)
		r = mount(device, BOOT_NEW_ROOT, type, flags, has_options ? options : NULL) < 0
			    ? -errno
			    : 0;
	else
		r = boot_mount_any(device, flags, has_options ? options : NULL);
	return r < 0 ? fail_errno(err, r, "cannot mount the root file system '%s' (%s)", root,
			       has_type ? type : "any type")
		     : 0;
}

/* Empties a directory, but only on the file system `device`. */
static void boot_remove_tree(int dir_fd, dev_t device)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *e;
	struct stat st;
	int fd;

	while (dir && (e = readdir(dir))) {
		if (streq(e->d_name, ".") || streq(e->d_name, "..") ||
			fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			st.st_dev != device)
			continue;
		if (S_ISDIR(st.st_mode)) {
			fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (fd >= 0)
				boot_remove_tree(fd, device);
		}
		unlinkat(dirfd(dir), e->d_name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
	}
	if (dir)
		closedir(dir);
	else
		close(dir_fd);
}

static int boot_move_mounts(struct error *err)
{
	char target[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(kernel_mounts); i++) {
		snprintf(target, sizeof(target), BOOT_NEW_ROOT "%s", kernel_mounts[i].target);
		mkdir(target, 0755);
		if (mount(kernel_mounts[i].target, target, NULL, MS_MOVE, NULL) < 0)
			return fail_errno(err, -errno, "the root file system has no directory '%s'",
				kernel_mounts[i].target);
	}
	return 0;
}

static int boot_switch_root(struct error *err)
{
	int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	struct stat st;

	if (old < 0 || fstat(old, &st) < 0)
		return fail_errno(err, -errno, "cannot open the initramfs");
	r = boot_move_mounts(err);
	if (r < 0)
		return r;
	if (chdir(BOOT_NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
		chroot(".") < 0 || chdir("/") < 0)
		return fail_errno(err, -errno, "cannot switch to the root file system");
	boot_remove_tree(old, st.st_dev);
	return 0;
}

static int boot_run_init(struct error *err)
{
	char init[PATH_MAX];

	if (!cmdline_get("wnodes.init", init, sizeof(init)))
		return 0;
	execl(init, init, (char *)NULL);
	return fail_errno(err, -errno, "cannot run the init '%s' of the root file system", init);
}

int boot_root(struct error *err)
{
	int r = boot_mount_kernel(err);

	if (r < 0)
		return r;
	console_debug("the initrd has started");
	module_load_list("/modules");
	console_debug("modules are loaded");
	r = boot_mount_root(err);
	console_debug("the root file system is mounted");
	if (r == 0)
		r = boot_switch_root(err);
	if (r == 0)
		r = boot_run_init(err);
	return r;
}

/* A root that cannot be written still needs a place for temporary files. */
static void boot_make_tmp(void)
{
	static const struct boot_mount tmp = {"/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"};

	if (mkdir("/tmp", 01777) == 0)
		chmod("/tmp", 01777);
	else if (access("/tmp", W_OK) < 0)
		boot_mount(&tmp);
}

static void boot_set_hostname(void)
{
	char name[65];

	if (disk_read_line("/etc/hostname", name, sizeof(name)) <= 0)
		snprintf(name, sizeof(name), "localhost");
	if (sethostname(name, strlen(name)) < 0)
		console_print("cannot set the host name: %s", strerror(errno));
}

void boot_system(void)
{
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(system_mounts); i++) {
		r = boot_mount(&system_mounts[i]);
		if (r < 0)
			console_print(
				"cannot mount '%s': %s", system_mounts[i].target, strerror(-r));
	}
	for (size_t i = 0; i < ARRAY_SIZE(boot_links); i++)
		if (symlink(boot_links[i].target, boot_links[i].path) < 0 && errno != EEXIST)
			console_print("cannot make '%s': %s", boot_links[i].path, strerror(errno));
	boot_make_tmp();
	if (mkdir("/run/lock", 01777) == 0)
		chmod("/run/lock", 01777);
	boot_set_hostname();
	r = network_up_loopback();
	if (r < 0)
		console_print("cannot bring up the loopback: %s", strerror(-r));
}
