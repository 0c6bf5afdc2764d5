/* Processor time of a process and all that descend from it. */
#pragma once

#include "lib/base.h"

/* Seconds that `pid`, its living descendants and what they have waited for have used. Processes
 * that end meanwhile count for whoever waits for them; 0 if there are none. */
double cputime_of_tree(pid_t pid);
