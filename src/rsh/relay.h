/* Signals, as the programs here take them: by a descriptor, which poll(2) waits for. */
#pragma once

#include "lib/base.h"

/* As a program that is about to be run wants them. */
void relay_reset_signals(void);

/* A descriptor that is readable when a child has ended; -1: errno. */
int relay_watch_children(void);

/* The same for what is sent to us, too, and is to be passed on. */
int relay_watch_signals(void);

/* Reads one signal of relay_watch_signals(); 0: there is none more. */
int relay_next(int fd);

/* Reads and forgets all. */
void relay_drain(int fd);

/* Milliseconds since some time in the past. */
int64_t relay_now_ms(void);
