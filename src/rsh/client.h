/* `wnodes-rsh HOST COMMAND...`, as rsh and ssh: runs a command in another VM of the job. */
#pragma once

#include "rsh/link.h"

/* `argv` begins with options of ssh, which are ignored. Returns the command's exit status, or 255
 * after a message, as ssh does. */
int client_run(int argc, char **argv);
