/* What others ask of a run's VM by its control socket. */
#include <errno.h>
#include <signal.h>

#include "engine/run_private.h"
#include "lib/path.h"

static json_t *on_show(void *userdata)
{
	struct run *run = userdata;

	return report_to_json(&run->report);
}

static struct vm *on_vm_wanted(void *userdata)
{
	struct run *run = userdata;

	return run->phases.now == PHASE_RUN ? run->vm : NULL;
}

static struct vm *on_console_wanted(void *userdata)
{
	struct run *run = userdata;

	return run->vm;
}

static void on_stop_wanted(void *userdata)
{
	run_interrupt(userdata, 128 + SIGTERM, "stopped by `wnodes vm stop`");
}

/* Whoever sends signals to tasks sends them to each: they are not for the VM's keeper. */
static bool on_task_ended(void *userdata)
{
	return run_task_ended(userdata);
}

int run_open_control(struct run *run, struct error *err)
{
	const struct request_tasks *tasks = run->request->tasks;
	const struct control_host host = {on_show, on_vm_wanted, run->request->caller,
		on_stop_wanted, on_console_wanted, tasks ? on_task_ended : NULL};
	autofree char *socket = NULL;
	int r = rundir_open(&run->rundir, err);

	if (r < 0)
		return r;
	run->report.name = run->rundir.name;
	socket = path_format("%s/" RUNDIR_SOCKET, run->rundir.path);
	if (!socket)
		return fail(err, -ENOMEM, "out of memory");
	r = control_open(run->event, socket, &host, run, &run->control, err);
	if (r == 0 && tasks && symlink(socket, tasks->link) < 0)
		r = fail_errno(err, -errno, "cannot make '%s'", tasks->link);
	return r;
}
