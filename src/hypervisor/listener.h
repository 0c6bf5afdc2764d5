/* The daemon's socket and its connections. */
#pragma once

#include "lib/error.h"

struct hypervisor;
struct listener;
struct client;

int listener_open(struct hypervisor *h, const char *path, struct listener **ret, struct error *err);
struct listener *listener_free(struct listener *l);

/* Calls `each` for all connections. */
void listener_each(
	struct listener *l, void (*each)(struct client *c, void *userdata), void *userdata);
