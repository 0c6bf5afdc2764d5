/* The local queue's files, and its runner: what local.c, runner.c and keeper.c share. */
#pragma once

#include "lrms/entry.h"

/* $XDG_STATE_HOME/wnodes/queue-HOST: a home directory may be that of many machines, and each has a
 * queue of its own. The caller frees; NULL when out of memory. */
char *local_directory(void);

/* The lock that the runner holds. Returns a descriptor, -EWOULDBLOCK while another holds it, or
 * negative errno. */
int local_lock_runner(const char *directory);

/* Is there a runner? */
bool local_has_runner(const char *directory);

/* Gives all running jobs whose keepers are dead their end. Returns how many, or negative errno. */
int local_settle(struct database *db, struct error *err);
