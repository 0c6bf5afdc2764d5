#include "serve/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lib/file.h"

#define LISTENER_BACKLOG 1024

/* Splits off the port, and takes the brackets of an address. */
static int split(const char *text, char *host, size_t size, const char **ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (n == 0 || !colon[1])
		return -EINVAL;
	if (text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	if (n >= size)
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	*ret_port = colon + 1;
	return 0;
}

static int listen_on(const struct addrinfo *a)
{
	autoclose int fd =
		socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
	const int yes = 1, no = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, LISTENER_BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int listener_open_address(const char *text, struct error *err)
{
	struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	const char *port;
	char host[256];
	int r, fd = -EADDRNOTAVAIL;

	if (split(text, host, sizeof(host), &port) < 0)
		return fail(
			err, -EINVAL, "'%s' is no address to listen on; write ADDRESS:PORT", text);
	/* Every address: IPv6, where there is any, takes IPv4 as well. */
	if (streq(host, "*"))
		hints.ai_family = access("/proc/net/if_inet6", F_OK) == 0 ? AF_INET6 : AF_INET;
	r = getaddrinfo(streq(host, "*") ? NULL : host, port, &hints, &list);
	if (r != 0)
		return fail(
			err, -EADDRNOTAVAIL, "cannot listen on '%s': %s", text, gai_strerror(r));
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = listen_on(a);
	freeaddrinfo(list);
	return fd < 0 ? fail_errno(err, fd, "cannot listen on '%s'", text) : fd;
}

/* Does somebody answer there? */
static bool is_in_use(const struct sockaddr_un *address)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
}

static int make_directory(const char *path, struct error *err)
{
	autofree char *directory = strdup(path);
	int r;

	if (!directory)
		return fail(err, -ENOMEM, "out of memory");
	*strrchr(directory, '/') = '\0';
	r = directory[0] ? file_make_dirs(directory, 0755) : 0;
	return r < 0 ? fail_errno(err, r, "cannot make '%s'", directory) : 0;
}

int listener_open_path(const char *path, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;
	int r;

	if (path[0] != '/' || strlen(path) >= sizeof(address.sun_path))
		return fail(err, -ENAMETOOLONG, "'%s' cannot be the path of a socket", path);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	r = make_directory(path, err);
	if (r < 0)
		return r;
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		if (is_in_use(&address))
			return fail(err, -EADDRINUSE,
				"cannot listen on '%s': another program does already", path);
		unlink(path);
	}
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(path, 0666) < 0 || listen(fd, LISTENER_BACKLOG) < 0)
		return fail_errno(err, -errno, "cannot listen on '%s'", path);
	return TAKE_FD(fd);
}
