/* The kernel's NFS server of this machine, by the files of /proc/fs/nfsd. It is the
 * administrator's: it is looked at, and not started. */
#pragma once

#include <netinet/in.h>

#include "lib/error.h"

#define NFSD_PORT 2049

/* Does it serve NFS 4.2 at NFSD_PORT, by TCP? Returns 0, or negative errno with what to do. */
int nfsd_check(struct error *err);

/* The same of what its files "threads", "versions" and "portlist" hold; for tests. */
int nfsd_check_files(
	const char *threads, const char *versions, const char *ports, struct error *err);

/* Forgets the clients of this address: what they have open, their locks, and what they were told
 * that nobody changes. Without it all others would wait for their leases to end. Linux 5.3; what
 * fails is not told. */
void nfsd_expire(struct in_addr address);
