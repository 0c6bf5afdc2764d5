/* How processes tell each other that the queue has changed: by touching a file that those who wait
 * watch. A touch may get lost (its process may be killed before), so who waits also looks now and
 * then. */
#pragma once

#include "lib/error.h"

/* How often to look without having been woken. */
#define WAKE_LOOK_MS 1000

/* Returns an inotify descriptor, readable after each touch, or negative errno. */
int wake_open(const char *directory);

/* Forgets the touches so far. */
void wake_drain(int fd);

/* Wakes all who watch. What fails is left: they look by themselves. */
void wake_touch(const char *directory);
