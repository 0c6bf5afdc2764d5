/* The server's half of a command that another VM of the job asks for: it runs as the user whose
 * program this is, with this environment. */
#pragma once

#include "rsh/link.h"

/* Takes the connection: the first packet says what the other end wants. A command is run by a child
 * of its own, and 0 returned; for one that attends, it is returned with its descriptor in *ret_fd.
 * Returns negative errno for anything else. */
struct attendance {
	uint32_t host, rank; /* which VM, and which task */
};
int serve_connection(const struct job *j, int listener, struct attendance *ret, int *ret_fd);

/* The child of serve_connection(). Returns its exit status. */
int serve_command(int fd, const char *command);

/* The shell's way to tell of an end: the status, or 128 and the signal. */
int serve_status(int wait_status);
