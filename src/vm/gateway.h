/* Gateways: the ways in which a host directory gets into a guest. Each is a table of functions, so
 * that the machine and the engine need not know which one serves a share. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/error.h"
#include "lib/message.h"
#include "lib/strv.h"

struct gateway;
struct qmp;
struct relay;

/* What serves a share on the host, beside QEMU: a program that was started for it. */
struct gateway_helper {
	int fd;    /* to it: QEMU's for a device, ours for a pipe; -1: none */
	int pidfd; /* becomes readable at its end, which is the share's; -1: there is no helper */
	pid_t pid; /* if it is our child; 0: it is somebody else's */
	int messages_fd;     /* file of what it has complained of; -1: none */
	struct relay *relay; /* between QEMU and it, so that another may take its place; or NULL */
};

#define GATEWAY_HELPER_INIT                              \
	(struct gateway_helper)                          \
	{                                                \
		.fd = -1, .pidfd = -1, .messages_fd = -1 \
	}

/* Room for the source of a mount: a tag, or an address with a path. */
#define GATEWAY_SOURCE_MAX 256

/* From where the guest mounts a share, by its network card. */
struct gateway_server {
	char address[16]; /* IPv4, dotted; "": there is none */
	char path[GATEWAY_SOURCE_MAX - 16];
};

/* A host directory that the guest sees. */
struct vm_share {
	const struct gateway *gateway; /* NULL in a request: the best one that there is */
	char *source;                  /* absolute path on the host */
	char *target;                  /* absolute path in the guest */
	bool read_only;
	struct gateway_helper helper; /* GATEWAY_HELPER_INIT until the gateway's start() */
	struct gateway_server server; /* of GATEWAY_NETWORK, after its start() */
};

enum gateway_kind {
	GATEWAY_DEVICE,  /* a device of QEMU's */
	GATEWAY_PIPE,    /* no device: what comes and goes by the helper's fd, the agent's channel
			  * carries */
	GATEWAY_NETWORK, /* no device: the guest mounts from a server, by its network card */
};

/* What there is on the host, for a gateway to serve a share with. */
struct gateway_host {
	sd_event *event;       /* that serves what stands between QEMU and a helper */
	struct qmp *qmp;       /* for restart(): the running QEMU */
	bool has_network;      /* the VM has a network card */
	const char *virtiofsd; /* program; NULL or "": the installed one */
	/* Has the node's daemon map all groups of the user in the user namespace of `pid`, a child
	 * of ours whose user is mapped already. Returns 0 or negative errno. NULL: there is no
	 * daemon. */
	int (*map_groups)(void *userdata, pid_t pid);
	/* Has the node's daemon serve an open directory to the VM. Returns 0, or negative errno
	 * with what to do. NULL: there is no daemon, or the VM is on none of its networks. */
	int (*serve)(void *userdata, int directory_fd, bool read_only, struct gateway_server *ret,
		struct error *err);
	void *userdata;
};

/* Room for what a mount is told beside its source. */
#define GATEWAY_OPTIONS_MAX 128

/* What a guest mounts a share from, and by which options. */
struct gateway_mount {
	char source[GATEWAY_SOURCE_MAX];
	char options[GATEWAY_OPTIONS_MAX];
};

struct gateway {
	const char *name; /* as people write it; also a word of SETTINGS_GATEWAYS */
	enum gateway_kind kind;
	const char *filesystem; /* that the guest's kernel must be able to mount, as manifests and
				 * the agent call it */
	const char *guest_program; /* that the guest must have; NULL: none */
	uint32_t agent_feature;    /* that the agent must have; 0: none */
	uint64_t overhead_mib;     /* host memory that one share takes at most, with its helper */
	bool cloneable;     /* a clone has it as it starts: it needs no device, or one of those that
			     * are in templates */
	bool shared_memory; /* its helper maps the guest's memory, which is no clone's private one
			     */
	bool needs_network;
	bool dies_alone; /* the guest gets errors when the helper has ended for good, and goes on */
	/* In which turn it is tried where none is asked for, in a VM that boots and in a clone; 0:
	 * never. docs/storage.md tells why in this order. */
	unsigned int boot_rank, clone_rank;
	/* Can it serve this share on this host? Returns 0, or negative errno with why not and what
	 * to do about it. NULL: it always can. */
	int (*check)(
		const struct gateway_host *host, const struct vm_share *share, struct error *err);
	/* Starts what serves the share, before QEMU, and fills its helper, which
	 * gateway_helper_stop() ends. It must not outlive the end of its fd. Returns 0 or negative
	 * errno. NULL: there is none. */
	int (*start)(const struct gateway_host *host, struct vm_share *share, size_t index,
		struct error *err);
	/* Starts another helper in the place of one that has ended while the VM runs: the guest's
	 * requests of before and of what it has open fail from then on, instead of waiting for
	 * ever. Returns 0 or negative errno. NULL: it cannot be. */
	int (*restart)(const struct gateway_host *host, struct vm_share *share, size_t index,
		struct error *err);
	/* Adds QEMU's arguments for share number `index` of this gateway's; `share` NULL: for one
	 * that is in a template and not used. NULL: it has no device. */
	void (*add_device)(const struct vm_share *share, size_t index, struct strv *argv);
	/* Fills the mount that the agent is to make; `texts` is a buffer for what it refers to. */
	void (*fill_mount)(const struct vm_share *share, size_t index, struct gateway_mount *texts,
		struct mount_request *ret);
};

extern const struct gateway gateway_9p, gateway_virtiofs, gateway_sshfs, gateway_nfs;

/* Returns the gateway of this name, or NULL. */
const struct gateway *gateway_find(const char *name);

/* All of them, one after the other; NULL at the end. */
const struct gateway *gateway_at(size_t i);

/* The number of `shares[i]` among those of the same gateway before it. */
size_t gateway_index(const struct vm_share *shares, size_t i);

/* Ends a helper, and reaps it if it is our child. Of another this is the end of its connection. */
void gateway_helper_stop(struct gateway_helper *h);

/* Its last words as one line, "" if it had none. */
void gateway_helper_messages(const struct gateway_helper *h, char *ret, size_t size);
