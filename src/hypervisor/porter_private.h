/* What the two files of the tie with wnodes-porter share: porter.c has its life, porter_answer.c
 * what it is answered. */
#pragma once

#include <jansson.h>

#include "hypervisor/directory.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/porter.h"

struct porter {
	struct hypervisor *hypervisor;
	struct envoy *envoy;
	struct directories *directories; /* that are origins */
	char *node;                      /* NULL: there is no site */
	bool told_change;                /* and it has not asked yet */
};

/* Answers one packet. */
void porter_answer(struct porter *p, json_t *question);
