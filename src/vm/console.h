/* The guest's serial console: kept, so that a failed boot can be explained, and passed on to who
 * wants to watch. The guest writes what it likes; only the last bytes are held. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/error.h"

#define CONSOLE_KEPT (64 * 1024)

struct console;

/* Takes `fd`, our end of the console's socket. */
int console_open(sd_event *event, int fd, struct console **ret);
struct console *console_free(struct console *c);
DEFINE_CLEANUP(struct console *, console_free)

/* Copies the last bytes, at most `max` - 1, with a NUL, into `ret`. Returns their number. */
size_t console_tail(const struct console *c, char *ret, size_t max);

/* Takes in what has arrived, without waiting: for the last words of a VM that ended. */
void console_drain(struct console *c);

/* Sends what is kept and all that follows to `fd` (taken; made non-blocking) until it is closed by
 * its reader; a reader that does not keep up loses bytes, never the guest. Returns 0 or -errno. */
int console_watch(struct console *c, int fd);
