/* Serves one client: requests in, each answered in its turn, with the rights of the process. What a
 * client sends is hostile: see tree.h for what it can reach. */
#pragma once

#include "sftp/handle.h"
#include "sftp/packet.h"
#include "sftp/tree.h"

struct server {
	struct tree tree;
	struct handles handles;
	struct buffer out;
	int out_fd; /* blocking; -1: answers stay in `out` */
	bool greeted;
};

void server_done(struct server *s);

/* Serves the requests that have come whole, and sends the answers. Returns 0, or negative errno
 * that ends the connection: -EPROTO for what is no request. */
int server_serve(struct server *s, struct buffer *in);
