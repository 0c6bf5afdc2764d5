/* sshfs runs as root of the guest and lets all its users in; their rights are judged by the
 * guest's kernel, from owner and mode, and by the host's, for the user whom the VM is of.
 */
#include "guest/sshfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "guest/call.h"
#include "guest/console.h"
#include "guest/disk.h"
#include "guest/guest.h"

/* Since Linux 5.2; from linux/mount.h, which musl's compiler does not find. */
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif

#define SSHFS_DEVICE "/dev/fuse"

/* Where sshfs mounts: it unmounts what is there when its host has gone, and whoever uses a share
 * then is to see errors, not the directory below. So the mount is moved from here to its place. */
#define SSHFS_DIRECTORY "/run/wnodes-sshfs"

#define SSHFS_PORTS "org.wnodes.share."

/* Under emulation, on a busy host, with its libraries still on the disk. */
#define SSHFS_START_MS 60000

/* What it remembers of directories and attributes is forgotten after a second, as the host and
 * other nodes change them too. Pieces are as large as it lets them be: twice what any server would
 * take. */
#define SSHFS_OPTIONS                                                                     \
	"passive,allow_other,default_permissions,dcache_timeout=1,dcache_stat_timeout=1," \
	"dcache_link_timeout=1,dcache_dir_timeout=1,max_read=65536,max_write=65536,fsname=%s%s%s"

/* What the kernel reads ahead of a program, instead of 128 KiB: enough for some pieces to be on
 * their way while others are looked at. */
#define SSHFS_READAHEAD_KIB "512"

/* Newer ones hide links to absolute paths, to protect themselves against their servers. */
#define SSHFS_LINKS "no_contain_symlinks"

static void client_path(const char *port, char ret[PATH_MAX])
{
	snprintf(ret, PATH_MAX, SSHFS_DIRECTORY "/%s", port);
}

static void __attribute__((noreturn)) client_run(const char *program, const char *target,
	const char *options, const char *device, int errors_fd)
{
	const char *const argv[] = {"sshfs", "-f", "-o", options, "host:", target, NULL};
	const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", NULL};
	int fd = open(device, O_RDWR | O_CLOEXEC | O_NOCTTY);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(errors_fd, STDERR_FILENO) < 0 || fd < 0 || dup2(fd, STDIN_FILENO) < 0 ||
		dup2(fd, STDOUT_FILENO) < 0) {
		dprintf(errors_fd, "cannot open '%s': %s", device, strerror(errno));
		_exit(1);
	}
	setsid();
	if (chdir("/") == 0)
		execve(program, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	dprintf(errors_fd, "cannot run '%s': %s", program, strerror(errno));
	_exit(127);
}

static int client_start(struct guest *g, const char *port, bool later, struct error *err)
{
	char program[PATH_MAX], device[64], options[512], path[PATH_MAX];
	struct sshfs *s = &g->sshfs;
	int r;

	if (program_find(g->root, "sshfs", program, sizeof(program)) < 0)
		return fail(err, -ENOPKG,
			"the image has no sshfs; make it with the package sshfs, or use another "
			"gateway");
	if (port_find(port, device, sizeof(device)) < 0) {
		fail(err, -ENODEV, "no port has the name '%s'", port);
		return CALL_AGAIN;
	}
	if (s->count == SSHFS_CLIENTS_MAX)
		return fail(err, -ENOSPC, "more than %d shares by sshfs", SSHFS_CLIENTS_MAX);
	snprintf(options, sizeof(options), SSHFS_OPTIONS, port, later ? ",delay_connect" : "",
		s->plain ? "" : "," SSHFS_LINKS);
	client_path(port, path);
	r = disk_make_dirs(path, 0700);
	if (r < 0)
		return fail_errno(err, r, "cannot make '%s'", path);
	s->errors_fd = memfd_create("sshfs", MFD_CLOEXEC);
	if (s->errors_fd < 0)
		return fail_errno(err, -errno, "sshfs");
	r = program_fork(&s->program, SSHFS_START_MS);
	if (r < 0)
		return fail_errno(err, r, "sshfs");
	if (s->program.pid == 0)
		client_run(program, path, options, device, s->errors_fd);
	return CALL_AGAIN;
}

static bool is_mounted(const char *target)
{
	char line[PATH_MAX + 512], at[PATH_MAX];
	FILE *file = fopen("/proc/self/mountinfo", "re");
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%*s %*s %*s %*s %4095s", at) == 1 && streq(at, target);
	if (file)
		fclose(file);
	return found;
}

/* Why it ended, or CALL_AGAIN if it is to be tried in another way. */
static int client_fail(struct sshfs *s, struct error *err)
{
	char text[400] = "";
	ssize_t n = pread(s->errors_fd, text, sizeof(text) - 1, 0);

	text[MAX_OF(n, 0)] = '\0';
	if (!s->plain && strstr(text, SSHFS_LINKS)) {
		s->plain = true;
		return CALL_AGAIN;
	}
	text[strcspn(text, "\n")] = '\0';
	return fail(err, -EIO, "sshfs ended: %s%s", text,
		text[0]                          ? ""
		: WIFSIGNALED(s->program.status) ? "by a signal"
						 : "without a word");
}

/* Returns 0 when the one that was started has mounted, CALL_AGAIN, or negative errno. */
static int client_wait(struct sshfs *s, const char *port, bool spare, struct error *err)
{
	char path[PATH_MAX];
	int r = 0;

	client_path(port, path);
	if (!program_runs(&s->program))
		r = client_fail(s, err);
	else if (!is_mounted(path)) {
		fail(err, -ETIMEDOUT, "sshfs has not mounted '%s'", path);
		return CALL_AGAIN;
	}
	if (r == 0) {
		struct sshfs_client *c = &s->clients[s->count++];

		*c = (struct sshfs_client){.pid = s->program.pid, .mount_fd = -1, .spare = spare};
		snprintf(c->port, sizeof(c->port), "%s", port);
	}
	s->program = (struct program){0};
	s->errors_fd = base_close(s->errors_fd);
	return r;
}

static bool client_is_starting(const struct sshfs *s)
{
	return s->errors_fd > 0;
}

static void client_end(struct sshfs *s, size_t i)
{
	kill(s->clients[i].pid, SIGKILL);
	base_close(s->clients[i].mount_fd);
	s->clients[i] = s->clients[--s->count];
}

/* A mount takes its flags from a second call. */
static int set_flags(const struct mount_request *x, struct error *err)
{
	unsigned long flags = MS_BIND | MS_REMOUNT | (x->flags & MOUNT_READ_ONLY ? MS_RDONLY : 0) |
			      (x->flags & MOUNT_NOSUID ? MS_NOSUID : 0) |
			      (x->flags & MOUNT_NODEV ? MS_NODEV : 0);

	if (mount(NULL, x->target, NULL, flags, NULL) == 0)
		return 0;
	fail_errno(err, -errno, "cannot mount '%s' as it was asked for", x->target);
	umount2(x->target, MNT_DETACH);
	return err->code;
}

/* A mount that has no place waits for ever for a host that is not there yet, but nobody who lists
 * the mounts runs into it. */
static int spare_hide(struct sshfs_client *c)
{
	char path[PATH_MAX];

	client_path(c->port, path);
	c->mount_fd =
		(int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (umount2(path, MNT_DETACH) < 0)
		c->mount_fd = base_close(c->mount_fd);
	return c->mount_fd < 0 ? -errno : 0;
}

/* Less is only slower. */
static void set_readahead(const struct stat *st)
{
	char path[PATH_MAX];
	int fd autoclose = -1;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(st->st_dev),
		minor(st->st_dev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, SSHFS_READAHEAD_KIB, strlen(SSHFS_READAHEAD_KIB)) < 0)
		console_debug("'%s': %s", path, strerror(errno));
}

/* Looking at it makes sshfs connect, and shows that the host answers. */
static int client_look(const struct mount_request *x, struct error *err)
{
	struct stat st;

	if (stat(x->target, &st) < 0) {
		fail_errno(err, -errno, "the host does not answer");
		umount2(x->target, MNT_DETACH);
		return err->code;
	}
	set_readahead(&st);
	return 0;
}

static int spare_move(struct sshfs_client *c, const struct mount_request *x, struct error *err)
{
	int fd autoclose = c->mount_fd;
	int r;

	c->spare = false;
	c->mount_fd = -1;
	if (syscall(SYS_move_mount, fd, "", AT_FDCWD, x->target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return fail_errno(err, -errno, "cannot mount on '%s'", x->target);
	r = client_look(x, err);
	return r < 0 ? r : set_flags(x, err);
}

/* A bind mount and the end of the first one instead of a move, which shared parents do not allow.
 */
static int client_place(
	const struct sshfs_client *c, const struct mount_request *x, struct error *err)
{
	char path[PATH_MAX];
	int r = 0;

	client_path(c->port, path);
	if (mount(path, x->target, NULL, MS_BIND, NULL) < 0)
		r = fail_errno(err, -errno, "cannot mount on '%s'", x->target);
	umount2(path, MNT_DETACH);
	if (r == 0)
		r = client_look(x, err);
	return r < 0 ? r : set_flags(x, err);
}

static struct sshfs_client *spare_find(struct sshfs *s, const char *port)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->clients[i].spare && streq(s->clients[i].port, port))
			return &s->clients[i];
	return NULL;
}

int sshfs_mount(struct guest *g, const struct mount_request *x, struct error *err)
{
	struct sshfs *s = &g->sshfs;
	struct sshfs_client *spare = spare_find(s, x->source);
	int r;

	if (spare)
		return spare_move(spare, x, err);
	if (client_is_starting(s)) {
		r = client_wait(s, x->source, false, err);
		return r == 0 ? client_place(&s->clients[s->count - 1], x, err) : r;
	}
	r = module_require_device(&g->module, "fuse", SSHFS_DEVICE);
	if (r != 0)
		return r;
	if (access(SSHFS_DEVICE, F_OK) < 0)
		return fail(err, -ENODEV, "the image's kernel has no FUSE, which sshfs needs");
	return client_start(g, x->source, false, err);
}

/* One that cannot be started is none: its MOUNT will say why. */
static int spare_begin(struct guest *g, const char *port)
{
	struct sshfs *s = &g->sshfs;
	struct error err = {0};
	int r;

	if (!client_is_starting(s))
		return client_start(g, port, true, &err);
	r = client_wait(s, port, true, &err);
	if (r == 0 && spare_hide(&s->clients[s->count - 1]) < 0)
		client_end(s, s->count - 1);
	if (r < 0)
		console_debug("no spare sshfs: %s", err.text);
	return r;
}

int sshfs_start_spares(struct guest *g)
{
	char ports[SSHFS_CLIENTS_MAX][PORT_NAME_SIZE];
	size_t n = port_list(SSHFS_PORTS, ports, SSHFS_CLIENTS_MAX);
	struct sshfs *s = &g->sshfs;

	if (access(SSHFS_DEVICE, F_OK) < 0)
		return 0;
	while (s->spares < n) {
		if (spare_begin(g, ports[s->spares]) == CALL_AGAIN)
			return CALL_AGAIN;
		s->spares++;
	}
	return 0;
}

void sshfs_end_spares(struct sshfs *s)
{
	for (size_t i = s->count; i > 0; i--)
		if (s->clients[i - 1].spare)
			client_end(s, i - 1);
}

bool sshfs_has(const struct sshfs *s, pid_t pid)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->clients[i].pid == pid)
			return true;
	return false;
}

bool sshfs_on_exit(struct sshfs *s, pid_t pid, int status)
{
	if (program_on_exit(&s->program, pid, status))
		return true;
	for (size_t i = 0; i < s->count; i++)
		if (s->clients[i].pid == pid) {
			base_close(s->clients[i].mount_fd);
			s->clients[i] = s->clients[--s->count];
			return true;
		}
	return false;
}

void sshfs_done(struct sshfs *s)
{
	program_stop(&s->program);
	while (s->count > 0)
		client_end(s, s->count - 1);
	if (client_is_starting(s))
		close(s->errors_fd);
	*s = (struct sshfs){0};
}
