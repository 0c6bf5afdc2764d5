/* Sockets that clients connect to. */
#pragma once

#include "lib/error.h"

/* "ADDRESS:PORT", "[ADDRESS]:PORT", "*:PORT" or "NAME:PORT". Returns the descriptor or -errno. */
int listener_open_address(const char *text, struct error *err);

/* A socket with this path, for everybody; directories are made. One that a killed program has left
 * is replaced, one that answers is not. Returns the descriptor or -errno. */
int listener_open_path(const char *path, struct error *err);
