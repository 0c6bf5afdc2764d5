/* A client of the controller that does as little as a client can: one thread, epoll, one request at
 * a time on a connection that stays. Only answers with a Content-Length are understood. */
#pragma once

#include <openssl/ssl.h>
#include <sys/socket.h>

#include "lib/error.h"

#define LOAD_HEADER_MAX 512

/* Where a controller is: "unix:/PATH" or "https://HOST:PORT". */
struct load_target {
	struct sockaddr_storage address;
	socklen_t length;
	bool tls;
	char host[256];
};

int load_target_parse(const char *text, struct load_target *ret, struct error *err);

/* Waits for what comes to connections. */
struct load_loop {
	int epoll;
	SSL_CTX *tls;
	unsigned int handshakes, resumed; /* of TLS; the latter by a ticket */
};

/* `ca`: a file with the authority that controllers are believed by; NULL: anybody is believed. */
int load_loop_init(struct load_loop *l, const char *ca, struct error *err);
void load_loop_done(struct load_loop *l);

/* Serves connections for `ms` at most, once. */
void load_loop_wait(struct load_loop *l, int ms);

struct load_answer {
	int status; /* 0: there is none */
	const char *body;
	size_t length;
	const char *reason; /* why there is none */
};

struct load_client;
typedef void (*load_on_answer)(struct load_client *c, const struct load_answer *answer);

enum load_state {
	LOAD_CLOSED,
	LOAD_CONNECTING,
	LOAD_HANDSHAKE,
	LOAD_READY,
	LOAD_SENDING,
	LOAD_RECEIVING,
};

struct load_client {
	struct load_loop *loop;
	const struct load_target *target; /* of the next connection */
	X509 *certificate;                /* NULL: none is shown */
	EVP_PKEY *key;
	const char *header; /* lines, each with CR LF; may be NULL */
	load_on_answer on_answer;
	void *userdata;
	bool once; /* a connection for each request */
	/* Its own: */
	enum load_state state;
	int fd;
	SSL *ssl;
	SSL_SESSION *session; /* of the last connection; NULL: none */
	bool stepping, closing;
	char *out, *in;
	size_t out_size, out_length, out_done, in_size, in_length;
	uint64_t began_us; /* the request */
};

/* Sends; the answer, or that there is none, is told to on_answer(), which may send the next. `body`
 * may be NULL. */
void load_client_send(struct load_client *c, const char *method, const char *path, const char *body,
	size_t length);

/* Ends the connection; a request that waits is told so. */
void load_client_fail(struct load_client *c, const char *reason);

static inline bool load_client_is_busy(const struct load_client *c)
{
	return c->out_length > 0;
}

void load_client_done(struct load_client *c);
