/* A web server of a test's own, which answers as it is told, or as no server should. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base.h"

struct webserver {
	/* Answers a GET of this path, in a thread of the connection's; it is closed afterwards. */
	void (*answer)(struct webserver *s, int fd, const char *path);
	const char *root; /* of webserver_send_file() */
	const void *userdata;

	char url[64];        /* "http://127.0.0.1:PORT" */
	atomic_int requests; /* so far */
	atomic_bool ending;
	/* Its own: */
	int fd;
	pthread_t thread;
	atomic_int connections;
};

void webserver_start(struct webserver *s);
void webserver_stop(struct webserver *s);

/* A whole answer. */
void webserver_send(int fd, const char *status, const void *body, size_t length);

/* The file at root + path, or 404. */
void webserver_send_file(struct webserver *s, int fd, const char *path);

/* Bytes, as they are; false when the client is gone. */
bool webserver_write(int fd, const void *data, size_t length);
