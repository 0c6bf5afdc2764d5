/* IDENTITY: who this VM is. */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

/* Writes the files below `root`; what needs the kernel is done by identity_on_call(). */
int identity_set_files(const char *root, const struct identity *x, struct error *err);

/* Writes `id` into `file`, which lies over `over` from the first call on. Returns 0 or negative
 * errno. */
int boot_id_set(const char *file, const char *over, const char *id);

/* Lets the ssh server that root/run/sshd.pid names start again in place, by SIGHUP: it has its keys
 * in memory. Nothing happens if no such process is one. */
void ssh_restart(const char *root);

/* Before a template is saved: all that the files and the boot id of its clones need is made ready.
 */
void identity_rehearse(const char *root);
void boot_id_rehearse(void);
