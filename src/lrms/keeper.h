/* A keeper: the parent of one job's command. It notes that the job runs before the command's first
 * instruction, and how it ended; whoever wants something of the job asks the keeper.
 *
 * It is not the runner, so that the runner can be killed without the job noticing. When the keeper
 * is killed, the command is (PR_SET_PDEATHSIG), and who finds the keeper dead ends what else there
 * is. */
#pragma once

#include "lrms/entry.h"

/* Runs the job if it is still queued. Returns 0 when all that is to be known of it is in the
 * database, or negative errno. */
int keeper_run(const struct lrms_options *options, const char *id, struct error *err);

/* Asks a running job's keeper: signo 0: end the job (SIGTERM, then SIGKILL after the grace); else
 * send the signal to it. Returns 0, -ESRCH if the keeper is dead, or negative errno. */
int keeper_ask(const struct entry_keeper *keeper, int signo);
