/* For how long the node has been on its own: since a controller of the site has last answered. It
 * is counted over restarts of the daemon, and of the node: by the clock that nobody can set, and by
 * that of the day only from one boot to the next. */
#pragma once

#include "lib/error.h"
#include "lrms/process.h"

/* What the clocks say. */
struct autonomy_clock {
	char boot[PROCESS_BOOT_ID_MAX]; /* the kernel's id of this boot */
	uint64_t day_us;                /* since the epoch */
	uint64_t boot_us;               /* since the boot, suspension included */
};

struct autonomy_clock autonomy_read_clock(void);

struct autonomy {
	char *path;
	uint64_t alone_us;    /* as it was at ... */
	uint64_t mark_us;     /* ... this time since the boot */
	uint64_t saved_us;    /* when it was noted on the disk, since the boot */
	uint64_t answered_us; /* when one has last answered, by the clock of the day; 0: never */
};

/* Reads the file `path`, or begins anew where there is none. Returns 0 or -ENOMEM. */
int autonomy_open(struct autonomy *a, const char *path, const struct autonomy_clock *now);
void autonomy_done(struct autonomy *a);

/* A controller has answered. */
void autonomy_note_answer(struct autonomy *a, const struct autonomy_clock *now);

uint64_t autonomy_alone_us(const struct autonomy *a, const struct autonomy_clock *now);
