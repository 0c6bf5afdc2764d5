/* A batch job whose VM did not start on this node may start on another. */
#pragma once

#include "bait/arguments.h"
#include "engine/settings.h"

/* Puts the job back into the queue of its batch system, at most [lrms] requeues times. Only a job
 * that is a batch script goes back: of another one, somebody waits for the end. Says what it does,
 * or why it cannot. The batch system then ends this process as well. */
void requeue_job(const struct arguments *a, const struct settings *settings);
