/* A volume that is served to another node, by NBD within TLS: a qemu-nbd of the volume's owner for
 * each attachment, which knows one key, that of the attachment. Its end is the end of what the
 * other node can write; its lock on the data ends with it. */
#pragma once

#include <systemd/sd-event.h>

#include "hypervisor/volume_data.h"
#include "lib/digest.h"

struct volume_server;

struct volume_export {
	char id[UUID_TEXT_SIZE]; /* of the attachment, and the export's name */
	char volume[UUID_TEXT_SIZE];
	char key[DIGEST_HEX_SIZE];
	uint64_t generation;
	uint64_t port; /* that it had before; 0: none */
	bool read_only;
	struct volume_owner owner;
};

/* Takes `fd`, the volume with its lock. `keys` is a directory for the keys of servers; `first_port`
 * and the next thousand are tried. `gone` is called when it has ended by itself. Returns 0 or
 * negative errno. */
int volume_server_start(sd_event *event, const struct volume_export *export, int fd,
	const char *keys, uint64_t first_port,
	void (*gone)(struct volume_server *s, void *userdata), void *userdata,
	struct volume_server **ret, struct error *err);

/* Ends it: when this returns, nothing of it writes any more. */
struct volume_server *volume_server_free(struct volume_server *s);
DEFINE_CLEANUP(struct volume_server *, volume_server_free)

const struct volume_export *volume_server_export(const struct volume_server *s);
uint64_t volume_server_port(const struct volume_server *s);
