/* Packets on a control socket: one JSON object each, with descriptors beside it. The socket is of
 * type SOCK_SEQPACKET, so that a packet arrives whole or not at all. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

#define PACKET_BYTES_MAX (192 * 1024) /* below Linux's default socket buffer */
#define PACKET_FDS_MAX   24           /* all that a VM is started from */

/* Sends one packet; `json` is borrowed. Returns 0 or negative errno (-EMSGSIZE: too long). */
int packet_send(int socket, json_t *json, const int *fds, size_t fd_count);

/* Receives one packet. *ret is the caller's, and so are the descriptors, *ret_count of them.
 * Returns 1, 0 at the end of the connection, -EPROTO for bytes that are no packet, or -errno. */
int packet_recv(int socket, json_t **ret, int ret_fds[PACKET_FDS_MAX], size_t *ret_count);

/* Is the answer {"error":"..."}? Then it is freed, and -EREMOTEIO returned with what it says. */
int packet_check_refusal(json_t **answer, struct error *err);
