/* What the files of a run's code share: run.c has the steps, run_control.c what others ask the VM
 * for, run_status.c what the run tells on its way,
 * run_tasks.c a VM that serves the commands of others, run_explain.c what people are told. */
#pragma once

#include <systemd/sd-event.h>

#include "engine/control.h"
#include "engine/identity.h"
#include "engine/interrupt.h"
#include "engine/launch.h"
#include "engine/prepare.h"
#include "engine/progress.h"
#include "engine/report.h"
#include "engine/resources.h"
#include "engine/run.h"
#include "engine/rundir.h"
#include "engine/session.h"
#include "engine/status_file.h"
#include "engine/terminal.h"

/* How much of the console explains a failed boot. */
#define CONSOLE_SHOWN 2000

/* The end of what serves a share. */
struct gateway_end {
	sd_event_source *source;
	unsigned int count; /* how often it has come */
	bool lost;          /* it has come, and nothing was done about it yet */
	bool remount;       /* another serves, which the guest does not know yet */
	bool told;          /* that it does not get to know it */
	struct run *run;
};

struct run {
	sd_event *event;
	sd_event_source *deadline, *later;
	void (*later_do)(struct run *run);
	const struct request *request;
	struct phase_clock phases;
	uint64_t accepted_us; /* since the epoch */
	sd_event_source *notice, *writing;
	struct status_file status_file;
	struct resources resources;
	struct error fetch_error;
	struct rundir rundir;
	struct control *control;
	struct interrupt *interrupt;
	struct progress *progress;
	struct terminal terminal;
	char mac[18];
	struct vm_identity identity;
	uint32_t agent_features;
	sd_event_source *warming;
	sd_event_source *guardian;
	int warm_fd; /* of the process that makes a template */
	struct launch launch;
	struct gateway_end gateway_ends[VM_SHARES_MAX];
	sd_event_source *losing, *remounting, *network; /* the last: the end of what serves it */
	uint64_t tasks_ended;
	struct vm *vm;
	struct prepare *prepare;
	struct session *session;
	struct report report;
	bool failed;
	enum phase failed_in;
	char reason[ERROR_TEXT_MAX];
	char late[ERROR_TEXT_MAX]; /* why an attempt to start was given up */
	char console[CONSOLE_SHOWN];
};

/* Has `what` done in the loop's next turn. */
void run_later(struct run *run, void (*what)(struct run *run));

/* Keeps this as the reason, if it is the first, and ends the VM. */
void run_fail(struct run *run, const char *format, ...) PRINTF(2, 3);

/* Enters a phase that must be over within `deadline_us`; 0: no deadline. */
void run_enter(struct run *run, enum phase phase, uint64_t deadline_us);

/* Ends the command's VM in order. */
void run_stop(struct run *run);

/* Ends the VM now, with this exit status; `why` (may be NULL) is the reason. */
void run_interrupt(struct run *run, int exit_code, const char *why);

/* Makes the VM's run directory and its control socket. Returns 0 or negative errno. */
int run_open_control(struct run *run, struct error *err);

/* Instead of a command of our own: serves those that come. */
void run_tasks(struct run *run);

/* Sees to it that the VM does not outlive its tasks' guardian. Returns 0 or negative errno. */
int run_watch_guardian(struct run *run);

/* A task's command has ended. Was it the last? */
bool run_task_ended(struct run *run);

/* Tells those who wait for the VM that it has failed. */
void run_refuse_tasks(struct run *run);

/* Chooses the gateways of the shares for this start of the VM, and watches what serves them.
 * Returns 0 or negative errno. */
int run_start_gateways(struct run *run, struct error *err);
void run_stop_gateways(struct run *run);

/* Says why the command could not be started. */
void run_explain_start(const struct run *run, const struct session_end *end);

/* Says that the VM's memory was full, if that was the command's end. */
void run_blame_memory(struct run *run);

/* Sees to the line that tells of a start that takes long. Returns 0 or negative errno. */
int run_watch_start(struct run *run);

/* Has the job's status written: soon, and at the end. */
void run_note_phase(struct run *run);
void run_note_end(struct run *run);
void run_status_done(struct run *run);

/* Says at the end what has failed, and writes the report that was asked for. */
void run_tell(struct run *run);
