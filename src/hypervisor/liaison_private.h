/* What the two files of the tie with the site share: liaison.c has its life, liaison_answer.c what
 * the courier is answered. */
#pragma once

#include <systemd/sd-event.h>

#include "hypervisor/autonomy.h"
#include "hypervisor/block.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/liaison.h"
#include "hypervisor/outbox.h"
#include "lib/uuid.h"

#define LIAISON_TEXT_MAX 320

/* What people want of the node at the site: said again and again, done when it changes. */
enum liaison_wish { WISH_NONE, WISH_DRAINED, WISH_UP };

struct liaison {
	struct hypervisor *hypervisor;
	sd_event_source *tick;
	struct envoy *courier;
	bool open; /* the node has joined, and [site] controllers is set */
	uint64_t opened_us;
	struct { /* of the certificate that the courier has */
		uint64_t inode, size;
		int64_t changed_ns;
	} stamp;
	struct block *block;
	struct outbox *outbox;
	struct autonomy autonomy;
	struct autonomy_clock asked; /* when the courier asked for the state */
	struct autonomy leases;      /* since when nobody has said that they are ours */
	uint64_t leases_kept_us;     /* and how long they are; 0: nobody has said */
	char boot[UUID_TEXT_SIZE];   /* of our life */
	uint64_t sequence;
	char revision[72];                  /* of the configuration in force; "": none */
	bool told_change;                   /* and the courier has not asked yet */
	bool told_volumes;                  /* the same of volumes */
	bool heard;                         /* of a heartbeat's fate, since we began */
	bool alone, expired, lease_missing; /* what has been said in the log */
	enum liaison_wish wish;
	char name[256], controller[256], failure[LIAISON_TEXT_MAX];
	char refusal[LIAISON_TEXT_MAX];
};

/* Answers one packet, with the descriptor that came with it (-1: none). */
void liaison_answer(struct liaison *l, json_t *question, int fd);

/* What the disk remembers: the configuration's revision, the wish. */
void liaison_answer_load(struct liaison *l);

/* The courier is told to ask for the state. */
void liaison_tell_change(struct liaison *l);

/* Is what we know of the site's answers to be told in the log? */
void liaison_look(struct liaison *l);

/* May others have the leases by now that we hold? */
bool liaison_leases_are_stale(const struct liaison *l);

char *liaison_path(const struct liaison *l, const char *name);
