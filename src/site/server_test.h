/* A server of a test's own: one thread that answers one connection after the other as it is told,
 * or as no server should. */
#pragma once

#include <pthread.h>

#include "lib/base.h"

/* What the n-th request gets; the last one is for all that follow. */
struct reply {
	const char *head; /* "200 OK\r\nETag: \"7\"\r\n"; NULL: the connection is closed without */
	const char *body;
	size_t repeat; /* the body so many times instead of once */
	bool hang;     /* nothing is said, and nothing closed */
};

enum server_certificate {
	SERVER_PLAIN, /* a unix socket, without TLS */
	SERVER_GOOD,
	SERVER_EXPIRED,
	SERVER_OTHER_NAME,
	SERVER_OTHER_CA,
};

struct server {
	const struct reply *replies; /* end with one of all zeros */
	enum server_certificate certificate;
	char address[128];  /* "https://localhost:port" or "unix:..." */
	int requests;       /* so far; read it when the server is at rest */
	char request[8192]; /* the last one, whole */
	char peer[128];     /* common name of the client's certificate, of the last one */
	/* The thread's own: */
	int fd, stop[2];
	void *tls;
	pthread_t thread;
};

/* Makes an authority and a client's certificate in this directory: ca.pem, client.pem, client.key.
 */
void server_prepare(const char *directory);

void server_start(struct server *s, const char *directory);
void server_stop(struct server *s);
