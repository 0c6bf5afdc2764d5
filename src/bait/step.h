/* The tasks of one step on one node, which share a VM: where they meet.
 *
 *   RUNTIME/steps/NAME/   NAME is made of job, step and node
 *     lock                held by the VM's keeper as long as it lives
 *     control             symbolic link to the VM's control socket
 *     failed              why there is no VM
 *
 * The first task that gets the lock becomes the parent of a keeper, which has the VM as its child
 * and outlives the task. All tasks, that one too, have their commands run through the control
 * socket. The keeper removes the directory when it ends well; what others leave is removed by later
 * steps.
 */
#pragma once

#include "bait/arguments.h"

/* The name of this step and node by the batch system's variables, for the caller to free; NULL if
 * they do not say. */
char *step_name(void);

/* Runs this task's command in the VM of its step, which is started if need be. Returns the exit
 * status, or negative errno. */
int step_run(
	const struct arguments *a, const char *name, struct request *request, struct error *err);
