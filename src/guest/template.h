/* QUIESCE: the guest gets ready to be saved as a template. */
#pragma once

#include "guest/program.h"

struct guest;
struct pollset;

struct template
{
	bool busy;   /* a QUIESCE is under way */
	uint32_t id; /* of the call */
	size_t step; /* that comes next */
	struct program program;
	bool masked;       /* the generation id's event, see template_on_identity() */
	int64_t unmask_at; /* 0 = not yet */
};

/* A clone has been told who it is. Its kernel has fresh entropy by then; what else the kernel does
 * about a new generation id (ACPI's vmgenid) is a tenth of all that it does until a first command
 * has run, and is let wait for a second. */
void template_on_identity(struct template *t);

/* Moves on; called on each turn of the loop. Returns 0 or negative errno. */
int template_tick(struct guest *g);
void template_poll(const struct guest *g, struct pollset *set);
