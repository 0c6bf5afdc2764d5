/* What the files of fill share. */
#pragma once

#include "depot/fill.h"

/* A chunk that is to come from a web server. */
struct want {
	struct want *next;
	size_t chunk;
	uint32_t tried;    /* a bit for each origin that has it not */
	uint32_t attempts; /* that failed for reasons of servers */
	size_t origin;     /* that is asked now */
	struct fill_state *state;
};

struct want_list {
	struct want *first, **end;
};

void want_list_init(struct want_list *l);
void want_list_add(struct want_list *l, struct want *w);
void want_list_add_first(struct want_list *l, struct want *w);
void want_list_move(struct want_list *to, struct want_list *from);
struct want *want_list_take(struct want_list *l);
void want_list_done(struct want_list *l);

/* One run. But for what jobs do, one thread does it all. */
struct fill_state {
	struct fill *fill;
	struct want_list wanted;
	size_t next_chunk; /* that no job looks at yet */
	size_t bodies;     /* answers on their way or waiting to be unpacked */
	bool syncing;
	uint64_t synced_us, shown_us;
	struct error err;  /* the first that ends the run; code 0: none */
	atomic_bool ended; /* there is one: jobs need not go on */
};

/* A job was given to the crew; its end is told to `end`. */
struct fill_job {
	struct crew_job job; /* first */
	void (*end)(struct fill_job *job);
	struct fill_state *state;
};

/* Begins to look for the next chunks here and in directories; what is not there becomes wanted. */
int fill_settle(struct fill_state *s);

/* Asks web servers for what is wanted. Returns after how many ms there is more to ask, at most
 * `max_ms`. */
uint32_t fill_ask(struct fill_state *s, uint32_t max_ms);

/* Ends the run, unless it has ended before. */
void fill_fail(struct fill_state *s, const struct error *err);

/* Ends the run for this chunk, with the reasons of all origins. */
void fill_fail_chunk(struct fill_state *s, size_t chunk);
