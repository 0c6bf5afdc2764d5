/* Handshakes of TLS that wait for the client. libmicrohttpd, with epoll, asks for a handshake's
 * next bytes again and again while there are none, so that a client that is slow, or wants to be,
 * would keep a processor busy. A connection that waits is suspended, and looked after by a thread
 * that sleeps until there is something to read. */
#pragma once

#include <gnutls/gnutls.h>
#include <microhttpd.h>

#include "lib/error.h"

struct handshakes;
struct handshake;

int handshakes_new(struct handshakes **ret, struct error *err);

/* Lets all go on, and suspends none any more: before the daemons are stopped. */
void handshakes_end(struct handshakes *hs);

/* After the last connection. */
struct handshakes *handshakes_free(struct handshakes *hs);
DEFINE_CLEANUP(struct handshakes *, handshakes_free)

/* For a connection that begins, in its thread. Returns NULL when out of memory: it goes on as
 * libmicrohttpd has it. */
struct handshake *handshake_new(
	struct handshakes *hs, struct MHD_Connection *mhd, gnutls_session_t session, int fd);

/* When the connection is gone. */
struct handshake *handshake_free(struct handshake *h);
