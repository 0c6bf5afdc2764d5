/* The program wnodes-sftp: serves one directory to one VM by the SSH file transfer protocol, on its
 * stdin and stdout, with the rights of the user that it runs as and nothing more. OpenSSH's server
 * serves all that its user may reach. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "config.h"
#include "lib/confinement.h"
#include "sftp/landlock.h"
#include "sftp/server.h"

/* It starts nothing and speaks with nobody else. */
static const int never[] = {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork),
	SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind),
	SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(pidfd_send_signal), SCMP_SYS(setxattr),
	SCMP_SYS(lsetxattr), SCMP_SYS(fsetxattr), SCMP_SYS(io_uring_setup)};

static int complain(const char *what, int error)
{
	fprintf(stderr, "wnodes-sftp: %s: %s\n", what, strerror(error));
	return 1;
}

static int run(struct server *s)
{
	struct buffer in AUTO(buffer_done) = {0};
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = buffer_read(&in, STDIN_FILENO, PACKET_MAX)) != 0) {
		if (n < 0 && n != -EINTR)
			return complain("cannot read", (int)-n);
		r = server_serve(s, &in);
	}
	/* A client that goes away is its end, and no failure. */
	return r == 0 || r == -EPIPE || r == -ECONNRESET ? 0 : complain("the client", -r);
}

int main(int argc, char **argv)
{
	bool read_only = argc == 3 && streq(argv[1], "--read-only");
	struct server s AUTO(server_done) = {.out_fd = STDOUT_FILENO};
	struct rlimit files;
	int r;

	if (argc == 2 && streq(argv[1], "--version"))
		return printf("wnodes-sftp %s\n", WNODES_VERSION) < 0;
	if (argc != 2 + read_only || argv[argc - 1][0] == '-') {
		fputs("Usage: wnodes-sftp [--read-only] DIRECTORY\n", stderr);
		return 1;
	}
	s.tree = (struct tree){open(argv[argc - 1], O_PATH | O_DIRECTORY | O_CLOEXEC), read_only};
	if (s.tree.fd < 0)
		return complain(argv[argc - 1], errno);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	umask(0); /* the client's kernel has taken away what its process does not give */
	r = landlock_enter(s.tree.fd, read_only);
	if (r >= 0)
		r = confinement_forbid(never, ARRAY_SIZE(never), NULL);
	return r < 0 ? complain("cannot confine itself", -r) : run(&s);
}
