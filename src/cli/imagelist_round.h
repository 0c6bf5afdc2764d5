/* One subscription's update: its list is fetched and checked, and the store made to follow it. */
#pragma once

#include <jansson.h>

#include "lib/error.h"

struct imagelist_round_options {
	bool dry_run; /* shows what would be done; nothing is changed */
	const char
		*file; /* takes the list from here instead; NULL: from where it is subscribed to */
};

/* Goes on where one that was killed has stopped, and waits for one that runs. *ret is what
 * happened, for json_decref(): "name", "status", "exit_status", "error", the list's "version" and
 * so on, "warnings", and "images" with an "action" each. Returns the exit status: 0, a verdict of
 * imagelist/check.h, or EXIT_WNODES. */
int imagelist_round(const char *directory, const char *name,
	const struct imagelist_round_options *options, json_t **ret);
