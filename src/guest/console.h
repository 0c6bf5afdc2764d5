/* Lines on the VM's console: for what went wrong, and with `wnodes.debug` for what is done. */
#pragma once

#include "lib/base.h"

/* Reads `wnodes.debug` from the kernel's command line. */
void console_init(void);

void console_print(const char *format, ...) PRINTF(1, 2);
void console_debug(const char *format, ...) PRINTF(1, 2);
