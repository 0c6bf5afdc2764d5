#include "vm/passt.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/child.h"
#include "lib/path.h"
#include "vm/usernet.h"

/* Tried once for each VM; a millisecond. */
static bool users_may_have_namespaces(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER) < 0);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

char *passt_find(struct error *err)
{
	autofree char *search = path_search();
	autofree char *program = search ? path_find_program(search, "passt") : NULL;

	if (!program)
		fail(err, -ENOENT,
			"[vm] user_network is passt, which is not installed (Debian package passt)");
	else if (!users_may_have_namespaces())
		fail(err, -EPERM,
			"[vm] user_network is passt, which needs a user namespace, and this host lets "
			"users have none (sysctl user.max_user_namespaces)");
	else
		return TAKE_PTR(program);
	return NULL;
}

/* It maps the gateway to this host's own addresses, as QEMU does, and takes in nothing. */
static void fill_argv(const char *program, int fd, struct strv *argv)
{
	strv_add(argv, program);
	strv_add_format(argv, "--fd=%d", fd);
	strv_add_all(argv, "--foreground", "--quiet", "--stderr", "--ipv4-only", "--address",
		USERNET_ADDRESS, "--netmask", USERNET_NETMASK, "--gateway", USERNET_GATEWAY,
		"--dns-forward", USERNET_NAMESERVER, "--tcp-ports", "none", "--udp-ports", "none",
		NULL);
}

int passt_start(const char *program, struct gateway_helper *ret, struct error *err)
{
	struct child_spec child = CHILD_SPEC_INIT;
	struct strv argv AUTO(strv_done) = {0};
	autoclose int ours = -1, theirs = -1, messages = -1;
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_errno(err, -errno, "cannot make a socket");
	ours = ends[0];
	theirs = ends[1];
	fill_argv(program, theirs, &argv);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	messages = memfd_create("passt", MFD_CLOEXEC);
	child.argv = strv_list(&argv);
	child.stdout_fd = child.stderr_fd = messages;
	child.keep = &theirs;
	child.keep_count = 1;
	child.workdir = "/";
	child.new_session = true;
	child.unasked = true;
	r = child_spawn(&child, &ret->pid, &ret->pidfd, err);
	if (r < 0)
		return r;
	ret->fd = TAKE_FD(ours);
	ret->messages_fd = TAKE_FD(messages);
	return 0;
}
