/* The kernel lets a map be written by who has made the namespace, or may all in it, and who may
 * become each of the groups outside. So what is written, is with the user's own id and, of root's
 * rights, the one to choose groups: whatever `pid` is by now, a namespace of somebody else's is not
 * touched. */
#include "hypervisor/groups.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/path.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59 /* Linux 4.13 */
#endif

/* What a map may have lines, beside that of the main group. */
#define GROUPS_MAX 339

static bool is_listed(gid_t gid, const gid_t *groups, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

char *groups_format(gid_t gid, const gid_t *groups, size_t count)
{
	struct buffer text AUTO(buffer_done) = {0};
	char line[48];
	int r, n = snprintf(line, sizeof(line), "%u %u 1\n", gid, gid);

	r = buffer_append(&text, line, (size_t)n);
	for (size_t i = 0; i < count && r == 0; i++) {
		if (groups[i] == gid || is_listed(groups[i], groups, i))
			continue;
		n = snprintf(line, sizeof(line), "%u %u 1\n", groups[i], groups[i]);
		r = buffer_append(&text, line, (size_t)n);
	}
	return r == 0 && buffer_append(&text, "", 1) == 0 ? strdup((const char *)buffer_head(&text))
							  : NULL;
}

/* The file system's view of this thread alone, until user_leave(). */
static int user_enter(uid_t uid)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (geteuid() == uid)
		return 0;
	if (syscall(SYS_setresuid, -1, uid, -1) < 0 || syscall(SYS_capget, &header, data) < 0)
		return -errno;
	data[0].effective |= 1u << CAP_SETGID;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int user_leave(uid_t before)
{
	return syscall(SYS_setresuid, -1, before, -1) < 0 ? -errno : 0;
}

static int write_all(int process_fd, const char *name, const char *text)
{
	autoclose int fd = openat(process_fd, name, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	return n < 0 ? -errno : 0;
}

static int map_as(uid_t uid, int process_fd, const char *text)
{
	uid_t before = geteuid();
	int r = user_enter(uid), left;

	if (r == 0)
		r = write_all(process_fd, "setgroups", "deny");
	if (r == 0)
		r = write_all(process_fd, "gid_map", text);
	left = user_leave(before);
	assert(left == 0); /* else we would go on as that user */
	return r;
}

int groups_map(int socket, const struct peer *peer, pid_t pid, struct error *err)
{
	autofree char *directory = path_format("/proc/%d", (int)pid), *text = NULL;
	gid_t groups[GROUPS_MAX];
	socklen_t length = sizeof(groups);
	autoclose int fd = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int r;

	if (fd < 0 || !peer_owns_process(peer, pid))
		return fail(err, -ESRCH, "there is no such process of yours");
	if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0)
		return fail_errno(err, -errno, "cannot learn which groups you are in");
	text = groups_format(peer->gid, groups, length / sizeof(gid_t));
	if (!text)
		return fail(err, -ENOMEM, "out of memory");
	r = map_as(peer->uid, fd, text);
	return r < 0 ? fail_errno(err, r, "cannot map your groups") : 0;
}
