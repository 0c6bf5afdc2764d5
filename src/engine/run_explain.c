/* What people are told of a run: why its command did not start, why it failed, and the report. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "engine/run_private.h"
#include "lib/exit.h"
#include "lib/log.h"
#include "lib/printable.h"

/* The agent's reason begins with the step that failed. What the user wrote may have lines. */
void run_explain_start(const struct run *run, const struct session_end *end)
{
	const struct request *request = run->request;
	const char *why = strerror(end->start_error);
	char command[ERROR_TEXT_MAX / 2], directory[ERROR_TEXT_MAX / 2];

	snprintf(command, sizeof(command), "%s", request->argv[0]);
	printable_make_line(command, strlen(command));
	snprintf(directory, sizeof(directory), "%s", request->workdir);
	printable_make_line(directory, strlen(directory));
	if (str_after(end->reason, "chdir: "))
		log_error(
			"the directory '%s' cannot be entered in the VM: %s; share it with --mount "
			"or choose another with --workdir",
			directory, why);
	else if (!str_after(end->reason, "exec: "))
		log_error("the command cannot be started in the VM: %s", end->reason);
	else if (end->start_error == ENOENT)
		log_error("%s: command not found in the VM", command);
	else
		log_error("%s: cannot be run in the VM: %s", command, why);
}

/* The guest's kernel kills who takes the last of the memory; to the command's caller that is any
 * SIGKILL. */
void run_blame_memory(struct run *run)
{
	const struct report *report = &run->report;

	if (run->failed || report->usage.oom_kills == 0 || report->exit_code != 128 + SIGKILL)
		return;
	snprintf(run->reason, sizeof(run->reason),
		"the command was killed because the VM's memory, %llu MiB, was full; ask for more",
		(unsigned long long)run->request->memory_mib);
	log_warning("%s", run->reason);
}

static void run_explain_failure(const struct run *run)
{
	log_error("%s: %s", phase_name(run->failed_in), run->reason);
	if (run->console[0])
		log_error("the VM's console ended with:\n%s", run->console);
}

void run_tell(struct run *run)
{
	struct error err = {0};

	terminal_stop(&run->terminal);
	run->progress = progress_stop(run->progress);
	if (run->failed)
		run_explain_failure(run);
	run->report.ended = true;
	run->report.reason = run->reason[0] ? run->reason : NULL;
	run_note_end(run);
	/* What became of the command is worth more than the report of it. */
	if (run->request->report && report_write(&run->report, run->request->report, &err) < 0) {
		log_error("%s", err.text);
		if (!run->report.has_command)
			run->report.exit_code = EXIT_WNODES;
	}
}
