/* A connection between two VMs of a job: both ends show that they know its key, then packets go
 * both ways.
 *
 *   server -> client   "WNRSH1" and two zeros, 16 random bytes S
 *   client -> server   16 random bytes C, SipHash(key, "c" S C)
 *   server -> client   SipHash(key, "s" S C)
 *   then packets: type (u8), three zeros, length (u32, little endian), as many bytes
 *
 * So who does not know the key can neither run commands in the job's VMs nor get any from them.
 * What follows is neither encrypted nor signed: the network is the job's own. */
#pragma once

#include "lib/error.h"
#include "rsh/job.h"

enum packet_type {
	PACKET_COMMAND = 1, /* client: run this text by the shell */
	PACKET_ATTEND,      /* client: I am a task; struct attendance */
	PACKET_INPUT,       /* client: of the command; no bytes: its end */
	PACKET_SIGNAL,      /* client: one byte */
	PACKET_OUTPUT,      /* server */
	PACKET_ERRORS,      /* server */
	PACKET_EXIT,        /* server: one byte, the exit status; the last */
};

#define PACKET_MAX    (128 * 1024) /* bytes in one; a command line has no more */
#define PACKET_HEADER 8

struct packet {
	enum packet_type type;
	uint32_t length;
	uint8_t *data; /* of `length` bytes and a NUL, for the caller to free */
};

/* Connects to a VM and shows the key; `wait_ms` is how long each step may take. Returns a
 * descriptor, or negative errno: -EKEYREJECTED where the other end does not know the key. */
int link_connect(const struct job *j, const char *address, int wait_ms, struct error *err);

/* Listens on an address of this VM. Returns a descriptor or negative errno. */
int link_listen(const char *address, struct error *err);

/* Takes a connection and checks the other end. Returns a descriptor or negative errno. */
int link_accept(const struct job *j, int listener);

/* Each waits as long as the descriptor's timeouts let it. A packet is sent whole. Returns 0 (recv:
 * 1, or 0 at the end) or negative errno. */
int link_send(int fd, enum packet_type type, const void *data, size_t length);
int link_recv(int fd, struct packet *ret);

/* From now on nothing but a dead peer ends a wait: the kernel asks whether it lives. */
void link_settle(int fd);
