/* Serves connections: a daemon of libmicrohttpd for each address, with TLS, and one for the local
 * socket. */
#pragma once

#include "lib/error.h"

struct controller;
struct server;

/* Listens where the controller's settings say; `authority` is the certificate (PEM) by which nodes
 * are known. Returns 0 or negative errno. */
int server_new(struct controller *c, const char *authority, struct server **ret, struct error *err);

/* Takes no more connections. */
void server_quiesce(struct server *s);

/* No request may be with the writer, and no stream be left. */
struct server *server_free(struct server *s);
DEFINE_CLEANUP(struct server *, server_free)
