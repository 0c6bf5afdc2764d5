/* Devices and tags may be hot-plugged, so a source that is not there yet is looked for again until
 * the call's time is over.
 */
#include "guest/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "guest/call.h"
#include "guest/console.h"
#include "guest/disk.h"
#include "guest/guest.h"

/* Serial numbers of virtio disks have at most 20 characters. */
#define MOUNT_SERIAL_SIZE 24

#define MOUNT_SHARES "/sys/bus/virtio/drivers/9pnet_virtio"

static void mount_flush(const char *target)
{
	int fd autoclose = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && syncfs(fd) < 0)
		console_print("cannot flush '%s': %s", target, strerror(errno));
}

void mounts_done(struct mounts *m)
{
	while (m->count > 0) {
		char *target autofree = TAKE_PTR(m->targets[--m->count]);

		if (umount2(target, 0) == 0)
			continue;
		mount_flush(target);
		if (umount2(target, MNT_DETACH) < 0)
			console_print("cannot unmount '%s': %s", target, strerror(errno));
	}
}

/* A clone's disk is empty until the kernel has heard of its size. */
static bool disk_has_medium(const char *name)
{
	char path[PATH_MAX], sectors[32];

	snprintf(path, sizeof(path), "/sys/block/%s/size", name);
	return disk_read_line(path, sectors, sizeof(sectors)) > 0 && !streq(sectors, "0");
}

static int device_find_serial(const char *serial, char *ret, size_t size)
{
	char path[PATH_MAX], found[MOUNT_SERIAL_SIZE];
	struct dirent *e;
	int r = -ENODEV;
	DIR *dir;

	dir = opendir("/sys/block");
	if (!dir)
		return -ENODEV;
	while (r < 0 && (e = readdir(dir))) {
		if (!str_after(e->d_name, "vd"))
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/serial", e->d_name);
		if (disk_read_line(path, found, sizeof(found)) <= 0 || !streq(found, serial))
			continue;
		snprintf(ret, size, "/dev/%s", e->d_name);
		r = access(ret, F_OK) == 0 && disk_has_medium(e->d_name) ? 0 : -ENODEV;
	}
	closedir(dir);
	return r;
}

int mount_find_device(const char *source, char *ret, size_t size)
{
	const char *serial = str_after(source, "virtio-");

	if (serial)
		return device_find_serial(serial, ret, size);
	if ((size_t)snprintf(ret, size, "%s", source) >= size || access(ret, F_OK) < 0)
		return -ENODEV;
	return 0;
}

static unsigned long mount_flags(uint32_t flags)
{
	return (flags & MOUNT_READ_ONLY ? MS_RDONLY : 0) | (flags & MOUNT_NOSUID ? MS_NOSUID : 0) |
	       (flags & MOUNT_NODEV ? MS_NODEV : 0);
}

static int mount_bind(const struct mount_request *x)
{
	unsigned long flags = mount_flags(x->flags);

	if (mount(x->source, x->target, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	/* A bind mount takes its flags only from a second call. */
	if (flags && mount(NULL, x->target, NULL, MS_BIND | MS_REMOUNT | flags, NULL) < 0) {
		int r = -errno;

		umount2(x->target, MNT_DETACH);
		return r;
	}
	return 0;
}

void mounts_learn(struct mounts *m)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir;

	m->tag_count = 0;
	dir = opendir(MOUNT_SHARES);
	if (!dir)
		return;
	while (m->tag_count < MOUNT_TAGS_MAX && (e = readdir(dir))) {
		if (!str_after(e->d_name, "virtio"))
			continue;
		snprintf(path, sizeof(path), MOUNT_SHARES "/%s/mount_tag", e->d_name);
		if (disk_read_line(path, m->tags[m->tag_count], MOUNT_TAG_SIZE) > 0)
			m->tag_count++;
	}
	closedir(dir);
}

static bool share_is_known(const struct mounts *m, const char *tag)
{
	for (size_t i = 0; i < m->tag_count; i++)
		if (streq(m->tags[i], tag))
			return true;
	return false;
}

/* The kernel complains on the console about a tag that it does not know, so it is not asked. */
static bool share_exists(struct mounts *m, const char *tag)
{
	/* An unusual kernel: let mount(2) find out. */
	if (access(MOUNT_SHARES, F_OK) < 0)
		return true;
	mounts_learn(m);
	return share_is_known(m, tag);
}

/* Finds what is to be mounted. Returns 0, or CALL_AGAIN while it may still appear. */
static int mount_find_source(
	struct guest *g, const struct mount_request *x, char *ret, size_t size, struct error *err)
{
	bool is_share = streq(x->type, "9p");
	int r;

	snprintf(ret, size, "%s", x->source);
	if (is_share ? share_is_known(&g->mounts, x->source) : !str_after(x->source, "virtio-"))
		return 0;
	if (!is_share && mount_find_device(x->source, ret, size) == 0)
		return 0;
	fail(err, -ENODEV, "no %s '%s'", is_share ? "share has the tag" : "disk has the serial",
		is_share ? x->source : str_after(x->source, "virtio-"));
	r = module_require_driver(&g->module, is_share ? "9pnet_virtio" : "virtio_blk");
	if (r == 0 && is_share && share_exists(&g->mounts, x->source))
		return 0;
	return CALL_AGAIN;
}

static int mount_do(struct guest *g, const struct mount_request *x, struct error *err)
{
	char source[PATH_MAX];
	int r;

	if (streq(x->type, "fuse.sshfs"))
		return sshfs_mount(g, x, err);
	r = mount_find_source(g, x, source, sizeof(source), err);
	if (r != 0)
		return r;
	if (mount(source, x->target, x->type, mount_flags(x->flags), x->options) < 0)
		return fail_errno(err, -errno, "cannot mount '%s' (%s) on '%s'", x->source, x->type,
			x->target);
	return 0;
}

static int mount_own(const struct mount_request *x, struct error *err)
{
	if (!(x->flags & MOUNT_OWNED))
		return 0;
	if (chown(x->target, x->uid, x->gid) < 0 || chmod(x->target, x->mode & 07777) < 0)
		return fail_errno(err, -errno, "cannot give '%s' to user %u", x->target, x->uid);
	return 0;
}

/* What is there is not looked at: its server may let it wait, and what uses it keeps it. */
static void mount_forget(struct mounts *m, const char *target)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->count; i++) {
		if (streq(m->targets[i], target))
			free(m->targets[i]);
		else
			m->targets[kept++] = m->targets[i];
	}
	m->count = kept;
	umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
}

/* Something that still has the old one open can make the kernel give it to us again. Of what this
 * asks, unlike of a file's attributes, the kernel remembers nothing. */
static int mount_look(const struct mount_request *x, struct error *err)
{
	struct statvfs st;

	if (statvfs(x->target, &st) == 0)
		return 0;
	fail_errno(err, -errno, "'%s' is not back", x->target);
	return err->code;
}

static int mount_check(const struct mounts *m, const struct mount_request *x, struct error *err)
{
	int r;

	if (x->target[0] != '/')
		return fail(err, -EINVAL, "mount point '%s' is not absolute", x->target);
	if (m->count >= MOUNTS_MAX)
		return fail(err, -ENOSPC, "more than %d mounts", MOUNTS_MAX);
	r = disk_make_dirs(x->target, 0755);
	return r < 0 ? fail_errno(err, r, "cannot make the mount point '%s'", x->target) : 0;
}

int mount_on_call(const struct call *c)
{
	const struct mount_request *x = c->message;
	struct mounts *m = &c->guest->mounts;
	char *target autofree = NULL;
	bool again = x->flags & MOUNT_AGAIN;
	int r;

	if (again && c->guest->call_deadline == 0) /* the first time */
		mount_forget(m, x->target);
	r = mount_check(m, x, c->err);
	if (r < 0)
		return r;
	target = strdup(x->target);
	if (!target)
		return fail_errno(c->err, -ENOMEM, "mount");
	if (x->flags & MOUNT_BIND) {
		r = mount_bind(x);
		if (r < 0)
			fail_errno(c->err, r, "cannot bind '%s' on '%s'", x->source, x->target);
	} else {
		r = mount_do(c->guest, x, c->err);
	}
	if (r != 0)
		return r;
	m->targets[m->count++] = TAKE_PTR(target);
	return again ? mount_look(x, c->err) : mount_own(x, c->err);
}
