/* The way of usage records to the site: at least once each, in order, whoever is killed. */
#pragma once

#include "engine/daemon.h"
#include "lib/error.h"
#include "site/site.h"

struct delivery;

/* Takes the descriptors: of the cursor, and of the file for what the site does not take. Returns 0
 * or negative errno. */
int delivery_new(struct daemon *daemon, int cursor_fd, int refused_fd, struct delivery **ret,
	struct error *err);
struct delivery *delivery_free(struct delivery *d);
DEFINE_CLEANUP(struct delivery *, delivery_free)

/* Delivers some of what there is. Returns 1 if there may be more, 0 if that was all, -ENOTCONN or
 * -EAGAIN if it has to be tried again later, with the reason, or another negative errno. */
int delivery_run(struct delivery *d, struct site *site, struct error *err);
