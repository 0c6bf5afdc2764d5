/* What the two files of the tie with wnodes-porter share: porter.c has its life, porter_answer.c
 * what it is answered. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "hypervisor/directory.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/porter.h"

struct porter {
	struct hypervisor *hypervisor;
	sd_event_source *tick, *child, *packets;
	struct directories *directories; /* that are origins */
	int pidfd, fd;                   /* of the child; -1: it does not run */
	char *node;                      /* NULL: there is no site */
	uint64_t spawned_us, pause_us, next_us;
	uint64_t generation; /* of the child: an answer for the one before is for nobody */
	unsigned int short_lives;
	bool told_change; /* and it has not asked yet */
	bool ended;       /* by us */
	bool asked_done;  /* it waits for an answer, and says nothing else until then */
};

/* Answers one packet. */
void porter_answer(struct porter *p, json_t *question);
