/* A directory queue, as the directory-queue library has it and ssmsend takes messages from:
 * DIRECTORY/<8 hex digits>/<14 hex digits>, one file a message. */
#pragma once

#include "lib/error.h"

/* Adds a message, on the disk when this returns; who reads the queue sees all of it or nothing. The
 * directory is made if it is missing. Returns 0 or negative errno. */
int record_queue_add(const char *directory, const void *text, size_t length, struct error *err);
