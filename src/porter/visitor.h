/* A connection of somebody who wants something of us: who that is, and its handshake. */
#pragma once

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>

#include "serve/handshake.h"

struct visitor;

/* For a connection that begins. NULL when out of memory. */
struct visitor *visitor_new(struct handshakes *handshakes, struct MHD_Connection *mhd);
struct visitor *visitor_free(struct visitor *v);

/* Has it shown the certificate of a node of our site? */
bool visitor_is_node(struct visitor *v);

/* Breaks the connection. */
void visitor_shut(struct visitor *v);
