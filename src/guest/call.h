/* The host's frames: one table from type to handler. */
#pragma once

#include "lib/error.h"
#include "lib/message.h"

struct guest;

/* What a handler returns beside 0 (answer now, with `body`) and a negative errno (answer with the
 * error, whose text the handler has put into `err`). */
enum call_result {
	CALL_AGAIN = 1, /* something is still to appear: call again soon, or at the end of the
			 * call's time answer with what is in `err` */
	CALL_LATER = 2, /* the answer will be sent by another part */
};

/* What one call works on. */
struct call {
	struct guest *guest;
	uint32_t id;
	const struct frame *frame; /* that it came in */
	const void *message;
	struct buffer *body;
	struct error *err;
};

/* The table from a frame's type to how its call is served. */
struct call_entry {
	const struct message_field *fields; /* NULL: no payload */
	int (*handle)(const struct call *c);
};

extern const struct call_entry call_entries[FRAME_TYPE_END];

/* Serves the frames that have come whole. Returns 0, or negative errno that ends the link: -EPROTO
 * for what a host must not send. */
int call_serve(struct guest *g);

/* The handlers, each in the file of its noun. */
int identity_on_call(const struct call *c);
int account_on_call(const struct call *c);
int mount_on_call(const struct call *c);
int network_on_call(const struct call *c);
int file_write_on_call(const struct call *c);
int file_read_on_call(const struct call *c);
int statistics_on_call(const struct call *c);
int probe_on_call(const struct call *c);
int clock_on_call(const struct call *c);
int power_on_call(const struct call *c);
int template_on_call(const struct call *c);
