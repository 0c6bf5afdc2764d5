/* What the log has of requests, and how it is written: as text, or as a JSON object a line. */
#pragma once

#include "controller/exchange.h"

#define JOURNAL_ID_MAX 65

/* By which a request is found again, in our log and in the client's. */
struct journal_id {
	char text[JOURNAL_ID_MAX];
};

/* The client's own if it has sent a good one (of letters, digits, '.', '_' and '-'; else NULL), or
 * a new one. */
void journal_make_id(const char *given, struct journal_id *ret);

struct journal_entry {
	const char *id, *method, *path;
	const struct exchange *x;
	uint64_t duration_us;
};

void journal_write(const struct journal_entry *e);

/* As the settings have it: "text" or "json"; "error", "warning", "info" or "debug". */
void journal_set(const char *format, const char *level);
