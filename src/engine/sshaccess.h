/* How OpenSSH's programs get into a running VM: by the channel of its agent, so that the VM needs
 * no network, and nobody else can try.
 *
 * The VM's run directory gets a key for its owner, one for a server in the VM, and a configuration
 * of ssh that knows both, as soon as somebody wants them; all are gone with the VM. The server is
 * the image's own sshd, run for one connection, as the VM's owner, by a shell that has its key from
 * us by the channel: whoever has that key is the VM. */
#pragma once

#include "lib/error.h"

struct sshaccess {
	char *config;      /* path of a file for `ssh -F` */
	char *host_key;    /* text of the server's private key */
	char *user_public; /* line of the public key that it lets in */
};

/* Makes the keys of a VM, or finds them. `directory` is its run directory, `user` who one is in it.
 * `program` is the path of `wnodes`. Returns 0 or negative errno. */
int sshaccess_open(const char *directory, const char *vm, const char *user, const char *program,
	struct sshaccess *ret, struct error *err);
void sshaccess_done(struct sshaccess *a);

/* What a shell in the VM runs to see whether the image has a server: it succeeds then. */
extern const char *const sshaccess_probe[];

/* What a shell in the VM runs as the server of the connection that is its standard input and
 * output. It expects these in its environment: */
extern const char *const sshaccess_server[];
#define SSHACCESS_NAME     "WNODES_SSH_NAME" /* the VM's */
#define SSHACCESS_HOST_KEY "WNODES_SSH_HOST_KEY"
#define SSHACCESS_USER_KEY "WNODES_SSH_USER_KEY"
