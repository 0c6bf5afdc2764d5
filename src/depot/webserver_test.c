#include "depot/webserver_test.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/file.h"
#include "lib/path.h"

#define REQUEST_MAX 4096
#define FILE_BYTES  (64 << 20)

bool webserver_write(int fd, const void *data, size_t length)
{
	size_t done = 0;

	while (done < length) {
		ssize_t n = send(fd, (const char *)data + done, length - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

void webserver_send(int fd, const char *status, const void *body, size_t length)
{
	char head[256];
	int n = snprintf(head, sizeof(head),
		"HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status, length);

	if (webserver_write(fd, head, (size_t)n))
		webserver_write(fd, body, length);
}

void webserver_send_file(struct webserver *s, int fd, const char *path)
{
	autofree char *name = path_format("%s%s", s->root, path), *text = NULL;
	size_t length;

	if (name && file_read(AT_FDCWD, name, FILE_BYTES, &text, &length) == 0)
		webserver_send(fd, "200 OK", text, length);
	else
		webserver_send(fd, "404 Not Found", "", 0);
}

struct connection {
	struct webserver *server;
	int fd;
};

static void *connection_run(void *userdata)
{
	struct connection *c = userdata;
	char request[REQUEST_MAX + 1] = "", path[REQUEST_MAX];
	size_t n = 0;

	while (n < REQUEST_MAX && !strstr(request, "\r\n\r\n")) {
		ssize_t got = recv(c->fd, request + n, REQUEST_MAX - n, 0);

		if (got <= 0)
			break;
		n += (size_t)got;
		request[n] = '\0';
	}
	if (sscanf(request, "GET %4000s HTTP", path) == 1) {
		c->server->requests++;
		c->server->answer(c->server, c->fd, path);
	}
	shutdown(c->fd, SHUT_WR);
	close(c->fd);
	c->server->connections--;
	free(c);
	return NULL;
}

static void *server_run(void *userdata)
{
	struct webserver *s = userdata;

	while (!s->ending) {
		struct pollfd p = {.fd = s->fd, .events = POLLIN};
		struct connection *c;
		pthread_t thread;

		if (poll(&p, 1, 50) <= 0)
			continue;
		c = malloc(sizeof(*c));
		assert(c);
		*c = (struct connection){s, accept(s->fd, NULL, NULL)};
		s->connections++;
		assert(pthread_create(&thread, NULL, connection_run, c) == 0);
		pthread_detach(thread);
	}
	return NULL;
}

void webserver_start(struct webserver *s)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t length = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(s->fd >= 0);
	assert(bind(s->fd, (struct sockaddr *)&address, length) == 0 && listen(s->fd, 64) == 0);
	assert(getsockname(s->fd, (struct sockaddr *)&address, &length) == 0);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u", ntohs(address.sin_port));
	s->ending = false;
	assert(pthread_create(&s->thread, NULL, server_run, s) == 0);
}

void webserver_stop(struct webserver *s)
{
	s->ending = true;
	assert(pthread_join(s->thread, NULL) == 0);
	close(s->fd);
	while (s->connections > 0)
		usleep(1000);
}
