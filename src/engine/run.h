/* A run: one request from its acceptance to the end of its VM. */
#pragma once

#include "engine/request.h"

/* Runs the request's command in a VM, with our own stdin, stdout and stderr, and returns the exit
 * status that `wnodes run` ends with: the command's own, 128 + N when it died of signal N, 127 or
 * 126 when it could not be started, 124 when its time ran out, and 125 when WNoDeS failed; then one
 * line on stderr says in which phase and why. Blocks; uses the process's signals. */
int run_execute(const struct request *request);
