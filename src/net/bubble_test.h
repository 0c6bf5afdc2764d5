/* Tests of what needs rights over a network: in a network of their own, which goes with them. */
#pragma once

#include "net/netlink.h"

/* Enters one. Returns false where the system does not let us: the tests are skipped. */
bool bubble_enter(void);

/* Its kernel's answers; NULL before bubble_enter(). */
extern struct netlink *bubble;

/* A device on top of `lower` that sees all broadcasts which come in by it and are not dropped;
 * returns a packet socket on it, or -1 where the kernel has none such. */
int bubble_watch(const char *lower);

/* Is there a frame within `ms`? */
bool bubble_sees(int fd, int ms);
