/* MUNGE: a daemon on each machine of the cluster says whose process has made a credential. */
#pragma once

#include "controller/authorization.h"

#define MUNGED_TTL_MAX_S 600 /* of a credential; our clients' have 300 */

/* What a credential says. */
struct munged_content {
	uid_t uid;
	void *payload; /* for free(); NULL: none */
	size_t length;
};

/* Asks munged at this socket (NULL: where libmunge looks). Returns 0; -EACCES for a credential that
 * is not valid, with the reason; -ENOTCONN if munged does not answer; -ENOSYS without MUNGE. */
int munged_open(
	const char *socket, const char *credential, struct munged_content *ret, struct error *err);
