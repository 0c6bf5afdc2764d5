/* Packets of the SSH file transfer protocol, version 3: a length, a type, then numbers, all big
 * endian, and strings with their lengths. Source: draft-ietf-secsh-filexfer-02. */
#pragma once

#include "lib/buffer.h"

/* Longer than what any client sends, and what OpenSSH's server accepts too. */
#define PACKET_MAX (256 * 1024)

/* Of the answer to a READ: with its header it is what sshfs accepts at most. */
#define PACKET_DATA_MAX (120 * 1024)

#define PACKET_PATH_MAX 4096 /* with its NUL, as Linux has it */

enum packet_type {
	PACKET_INIT = 1,
	PACKET_VERSION,
	PACKET_OPEN,
	PACKET_CLOSE,
	PACKET_READ,
	PACKET_WRITE,
	PACKET_LSTAT,
	PACKET_FSTAT,
	PACKET_SETSTAT,
	PACKET_FSETSTAT,
	PACKET_OPENDIR,
	PACKET_READDIR,
	PACKET_REMOVE,
	PACKET_MKDIR,
	PACKET_RMDIR,
	PACKET_REALPATH,
	PACKET_STAT,
	PACKET_RENAME,
	PACKET_READLINK,
	PACKET_SYMLINK,
	PACKET_REQUESTS_END,
	PACKET_STATUS = 101,
	PACKET_HANDLE,
	PACKET_DATA,
	PACKET_NAME,
	PACKET_ATTRS,
	PACKET_EXTENDED = 200,
	PACKET_EXTENDED_REPLY,
};

/* What is left of a packet that is being read. `bad` once it was shorter than it should be; what is
 * read from then on is zeros. */
struct packet {
	const uint8_t *data;
	size_t length;
	bool bad;
};

uint32_t packet_get_u32(struct packet *p);
uint64_t packet_get_u64(struct packet *p);

/* The bytes stay in the packet. */
struct packet packet_get_bytes(struct packet *p);

/* Copies a string without a NUL inside; a longer one, or one with a NUL, is bad. */
void packet_get_string(struct packet *p, char *ret, size_t size);

/* Append to `out`; the program ends if there is no memory for it. */
void packet_put_u32(struct buffer *out, uint32_t value);
void packet_put_u64(struct buffer *out, uint64_t value);
void packet_put_bytes(struct buffer *out, const void *data, size_t length);
void packet_put_string(struct buffer *out, const char *text);

/* Begins a packet, whose length packet_end() fills in. Returns where it begins. */
size_t packet_begin(struct buffer *out, enum packet_type type, uint32_t id);
void packet_end(struct buffer *out, size_t begin);
