/* The program virtiofsd, which serves a directory to a guest's virtiofs. There are two: the one
 * that came with QEMU until 7.2, in C, and its successor in Rust; their options differ. */
#pragma once

#include "vm/gateway.h"

struct virtiofsd {
	char program[128];
	bool is_rust;
};

/* Finds the program, or looks at `setting` where that is not empty. Returns 0, or negative errno
 * with what to do. */
int virtiofsd_find(const char *setting, struct virtiofsd *ret, struct error *err);

/* Starts it for `share`, as the caller and with no more rights than the caller has: in a user
 * namespace that has the caller's ids alone, in which it sees nothing but the directory. Root's
 * needs none. `host` may map the caller's further groups. Fills `ret`, whose fd is the connected
 * vhost-user socket: with that it ends. Returns 0 or negative errno. */
int virtiofsd_start(const struct virtiofsd *program, const struct gateway_host *host,
	const struct vm_share *share, struct gateway_helper *ret, struct error *err);

/* What the first line of its --version says; for tests. Returns true for the one in Rust. */
bool virtiofsd_version_is_rust(const char *text);
