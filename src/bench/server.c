#include "bench/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/child.h"

/* A port that nobody has; who is quicker may still take it, and then the trial says so. */
static int port_find(unsigned int *ret)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd autoclose = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(address);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return -errno;
	*ret = ntohs(address.sin_port);
	return 0;
}

static int program_start(const char **argv, size_t port_at, unsigned int *ret_port, int *ret_pidfd,
	struct error *err)
{
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error why = {0};
	char port[16];
	pid_t pid;
	int r = port_find(ret_port);

	if (r < 0)
		return fail_errno(err, r, "cannot find a free port");
	snprintf(port, sizeof(port), "%u", *ret_port);
	argv[port_at] = port;
	spec.argv = argv;
	r = child_spawn(&spec, &pid, ret_pidfd, &why);
	if (r == 0)
		return 0;
	*ret_port = 0;
	*ret_pidfd = -1;
	return r == -ENOENT ? 0 : fail(err, r, "%s", why.text);
}

int server_start(struct server *s, const char *address, struct error *err)
{
	const char *iperf[] = {"iperf3", "--server", "--bind", address, "--port", "", NULL};
	const char *sockperf[] = {"sockperf", "server", "--tcp", "-i", address, "-p", "", NULL};
	int r = program_start(iperf, 5, &s->iperf_port, &s->iperf, err);

	return r < 0 ? r : program_start(sockperf, 6, &s->sockperf_port, &s->sockperf, err);
}

static void program_stop(int *pidfd)
{
	if (*pidfd >= 0)
		child_kill(*pidfd);
	*pidfd = base_close(*pidfd);
}

void server_stop(struct server *s)
{
	program_stop(&s->iperf);
	program_stop(&s->sockperf);
}
