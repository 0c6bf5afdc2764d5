/* Connections of clients: how long each may take for what it does, so that slow ones and idle ones
 * do not keep others out. */
#pragma once

#include "lib/error.h"

enum connection_state {
	CONNECTION_NEW,       /* has not sent a whole request yet */
	CONNECTION_IDLE,      /* between requests */
	CONNECTION_RECEIVING, /* a request's body */
	CONNECTION_WORKING,   /* we are to do something */
	CONNECTION_SENDING,   /* an answer */
	CONNECTION_STREAM,    /* does not end */
};

struct connections;
struct connection;
struct handshake;

struct connections *connections_new(void);
struct connections *connections_free(struct connections *cs);
DEFINE_CLEANUP(struct connections *, connections_free)

/* A new one, whose descriptor stays the caller's; `local`: of the local socket, whose users have at
 * most `user_max` each. NULL when out of memory, or for one too many, which is shut down. */
struct connection *connection_open(struct connections *cs, int fd, bool local, size_t user_max);

/* Its handshake (NULL: none) becomes the connection's own. */
void connection_take_handshake(struct connection *c, struct handshake *handshake);

/* Before its descriptor is closed. */
void connection_close(struct connection *c);

void connection_set(struct connection *c, enum connection_state state);
bool connection_is_local(const struct connection *c);
uid_t connection_uid(const struct connection *c);

/* Who is at its other end: GUESS_ADDRESS_SIZE bytes. */
const uint8_t *connection_address(const struct connection *c);

/* Shuts down those that have taken longer than this, in us; idle ones earlier where there are very
 * many. */
void connections_sweep(struct connections *cs, uint64_t request_time, uint64_t idle_time);

/* How many there are, and how many answer or are answered. */
void connections_count(struct connections *cs, size_t *ret_all, size_t *ret_busy);
