/* Shares that sshfs mounts, each over a port of its own: the other end of the port is a server of
 * the SSH file transfer protocol, on the host. Nothing of it crosses the agent's channel, and the
 * agent never waits for itself. */
#pragma once

#include "guest/port.h"
#include "guest/program.h"
#include "lib/error.h"
#include "lib/message.h"

struct guest;

#define SSHFS_CLIENTS_MAX 32

/* An sshfs that runs. */
struct sshfs_client {
	pid_t pid;
	char port[PORT_NAME_SIZE];
	bool spare;   /* its mount has no place yet */
	int mount_fd; /* by which it is held then; -1: none */
};

struct sshfs {
	struct sshfs_client clients[SSHFS_CLIENTS_MAX];
	size_t count;
	struct program program; /* the one that is about to mount */
	int errors_fd;          /* what it says meanwhile */
	bool plain;             /* it does not know SSHFS_LINKS */
	size_t spares;          /* ports for which spares were tried, while a template is made */
};

/* Mounts the share that is behind the port x->source. Returns 0, CALL_AGAIN (see call.h) while that
 * is under way, or negative errno. */
int sshfs_mount(struct guest *g, const struct mount_request *x, struct error *err);

/* Mounts what is behind all ports out of sight, so that a clone only needs to move it into place:
 * sshfs connects when somebody looks. Returns 0 when that is done, or CALL_AGAIN. */
int sshfs_start_spares(struct guest *g);

/* Ends those that no MOUNT has taken. */
void sshfs_end_spares(struct sshfs *s);

/* Is it one of ours, that must not end before what it has mounted? */
bool sshfs_has(const struct sshfs *s, pid_t pid);

/* A child was reaped; false if it is none of these. */
bool sshfs_on_exit(struct sshfs *s, pid_t pid, int status);

void sshfs_done(struct sshfs *s);
