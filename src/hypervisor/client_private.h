/* What the files of a client's code share: client.c serves what it asks, client_template.c what it
 * asks of templates, client_export.c of the node's NFS server; client_report.c tells of it. */
#pragma once

#include "engine/packet.h"
#include "hypervisor/borrow.h"
#include "hypervisor/call.h"
#include "hypervisor/client.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/loan_card.h"
#include "hypervisor/loan_disks.h"
#include "hypervisor/tally.h"

#define KEYS_MAX 8 /* templates that one VM is lent, one after the other */

enum client_state {
	CLIENT_IDLE,    /* has no VM */
	CLIENT_LOOKING, /* for its image */
	CLIENT_WAITING, /* for a slot */
	CLIENT_MAKING,  /* its volume */
	CLIENT_OPENING, /* its image, once more: it has waited */
	CLIENT_LENT,
};

struct client {
	struct hypervisor *hypervisor;
	sd_event_source *source, *pause;
	int fd;
	struct peer peer;
	struct allowance *allowance;
	void (*gone)(struct client *c, void *userdata);
	void *userdata;
	enum client_state state;
	bool own_image, counted_failure, started;
	struct call wanted; /* `open` or `hold` */
	struct slot *slot;
	struct borrow *borrow; /* the image that it waits for */
	char digest[DIGEST_HEX_SIZE];
	char image[CALL_IMAGE_MAX];
	struct loan_disks disks;
	struct loan_card card;
	char keys[KEYS_MAX][DIGEST_HEX_SIZE]; /* of templates that it was lent */
	size_t key_count;
	bool asking_template, asking_volume, asking_export;
	uint64_t active_us;
	struct tally tally;
};

/* What is lent with an answer: names and descriptors, which stay whose they are. */
struct client_descriptors {
	json_t *names;
	int fds[PACKET_FDS_MAX];
	size_t count;
};

/* -1: nothing is added. */
void client_add_descriptor(struct client_descriptors *d, const char *name, int fd);

/* Takes `answer`. */
void client_answer(struct client *c, json_t *answer, const int *fds, size_t count);
void client_refuse(struct client *c, const char *why);

/* Requests of templates. */
void client_on_template(struct client *c, const struct call *call);
void client_on_template_failed(struct client *c, const struct call *call);
void client_on_used(struct client *c, const struct call *call);
void client_on_wish(struct client *c, const struct call *call);
/* Has a directory of the client's served to its VM. */
void client_on_export(struct client *c, const struct call *call);

/* Ends what is served to its VM, if the daemon does not end. */
void client_end_exports(struct client *c);
