/* The user's terminal in raw mode, so that every key reaches the terminal in the VM. */
#pragma once

#include <termios.h>

#include "lib/base.h"

struct terminal {
	int fd; /* borrowed; -1 when not in raw mode */
	struct termios saved;
};

#define TERMINAL_INIT    \
	{                \
		.fd = -1 \
	}

/* Switches `fd` to raw mode. Does nothing if it is no terminal. */
void terminal_start(struct terminal *t, int fd);

/* Restores the mode. May be called twice. */
void terminal_stop(struct terminal *t);

/* The size of the first terminal among stdin, stdout and stderr; 24 x 80 if none is one. */
void terminal_get_size(unsigned int *ret_rows, unsigned int *ret_columns);
