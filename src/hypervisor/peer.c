#include "hypervisor/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#include "lrms/process.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/* Copies digits, or one of the words that Slurm calls steps by. Returns what follows, or NULL. */
static const char *take_name(const char *text, bool words, char *ret, size_t size)
{
	size_t n = strspn(text, "0123456789");

	if (n == 0 && words)
		n = strspn(text, "abcdefghijklmnopqrstuvwxyz");
	if (n == 0 || n >= size || (text[n] != '/' && text[n] != '\n' && text[n] != '\0'))
		return NULL;
	memcpy(ret, text, n);
	ret[n] = '\0';
	return text + n;
}

/* "job_J" and, if it is there, "/step_S". */
static bool take_job(const char *path, char ret_job[PEER_JOB_MAX])
{
	char job[24], step[24] = "";
	const char *rest = str_after(path, "job_");

	rest = rest ? take_name(rest, false, job, sizeof(job)) : NULL;
	if (!rest)
		return false;
	rest = str_after(rest, "/step_");
	if (rest && !take_name(rest, true, step, sizeof(step)))
		return false;
	snprintf(ret_job, PEER_JOB_MAX, "%s%s%s", job, step[0] ? "." : "", step);
	return true;
}

/* Slurm's directory of version 1 is /slurm, or /slurm_NODE where a host runs several. */
static const char *after_slurm(const char *path)
{
	const char *rest = str_after(path, "/slurm");

	if (!rest || (*rest != '/' && *rest != '_'))
		return NULL;
	rest += strcspn(rest, "/\n");
	return *rest == '/' ? rest + 1 : NULL;
}

static bool parse_v1(const char *path, uid_t uid, char ret_job[PEER_JOB_MAX])
{
	const char *rest = after_slurm(path);
	char text[24];

	rest = rest ? str_after(rest, "uid_") : NULL;
	rest = rest ? take_name(rest, false, text, sizeof(text)) : NULL;
	if (!rest || *rest != '/' || strtoull(text, NULL, 10) != uid)
		return false;
	return take_job(rest + 1, ret_job);
}

/* Of version 2: /system.slice/slurmstepd.scope/, or /system.slice/NODE_slurmstepd.scope/. */
static bool parse_v2(const char *path, char ret_job[PEER_JOB_MAX])
{
	static const char scope[] = "slurmstepd.scope";
	const char *rest = str_after(path, "/system.slice/");
	size_t n = rest ? strcspn(rest, "/\n") : 0;

	if (!rest || rest[n] != '/' || n < strlen(scope) ||
		strncmp(rest + n - strlen(scope), scope, strlen(scope)) != 0)
		return false;
	if (n > strlen(scope) && rest[n - strlen(scope) - 1] != '_')
		return false;
	return take_job(rest + n + 1, ret_job);
}

bool peer_parse_cgroup(const char *text, uid_t uid, char ret_job[PEER_JOB_MAX])
{
	ret_job[0] = '\0';
	for (const char *line = text; line && *line;) {
		const char *end = strchr(line, '\n');
		const char *controllers = memchr(line, ':', strcspn(line, "\n"));
		const char *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (path && (!end || path < end) &&
			(str_after(line, "0::") ? parse_v2(path + 1, ret_job)
						: parse_v1(path + 1, uid, ret_job)))
			return true;
		line = end ? end + 1 : NULL;
	}
	ret_job[0] = '\0';
	return false;
}

/* A number in the lines of /proc/PID/status, or -1. */
static long status_number(const char *status, const char *key)
{
	const char *line = status ? strstr(status, key) : NULL;

	return line ? strtol(line + strlen(key), NULL, 10) : -1;
}

static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) != 0;
}

/* The process that connected. Its number may be another's by now, unless the kernel gives a handle;
 * before Linux 6.5 it does not, and the owner of the process is what can be checked. */
static int open_process(int socket, const struct peer *peer)
{
	autofree char *status = NULL;
	autoclose int pidfd = -1;
	socklen_t length = sizeof(pidfd);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0)
		return TAKE_FD(pidfd);
	pidfd = pidfd_open(peer->pid, 0);
	status = process_read(peer->pid, "status");
	return status_number(status, "\nUid:\t") == (long)peer->uid ? TAKE_FD(pidfd) : -1;
}

int peer_get(int socket, struct peer *ret)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);
	autofree char *cgroup = NULL;
	autoclose int pidfd = -1;

	*ret = (struct peer){0};
	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return -errno;
	ret->uid = peer.uid;
	ret->gid = peer.gid;
	ret->pid = peer.pid;
	pidfd = peer.pid > 0 ? open_process(socket, ret) : -1;
	if (pidfd < 0)
		return 0; /* it has ended, or lives where we cannot see it: in no job, then */
	cgroup = process_read(peer.pid, "cgroup");
	if (cgroup)
		peer_parse_cgroup(cgroup, peer.uid, ret->job);
	if (has_ended(pidfd))
		ret->job[0] = '\0'; /* what was read may be another's */
	return 0;
}

bool peer_owns_process(const struct peer *peer, pid_t pid)
{
	autofree char *status = pid > 0 ? process_read(pid, "status") : NULL;

	return status && status_number(status, "\nUid:\t") == (long)peer->uid &&
	       status_number(status, "\nPPid:\t") == (long)peer->pid &&
	       !strstr(status, "\nState:\tZ");
}
