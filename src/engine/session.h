/* A session: one process in the VM tied to three descriptors of a caller on the host. `wnodes run`
 * has one, and each `wnodes vm exec` another. */
#pragma once

#include <systemd/sd-event.h>

#include "lib/error.h"
#include "vm/stream.h"

struct session;

/* How the process ended; exactly one of these. */
struct session_end {
	int start_error;                  /* > 0: it could not be started: errno of the guest ... */
	const char *reason;               /* ... and the step that failed */
	const struct exit_status *status; /* it ran; NULL with start_error 0: the VM was lost */
	int output_error; /* > 0: errno of the first write of its output that failed here */
};

typedef void (*session_end_fn)(const struct session_end *end, void *userdata);

/* Starts the process. Takes the descriptors (-1: no such stream: stdin is /dev/null in the guest,
 * output is dropped). With EXEC_TTY, stderr_fd is not used. `ended` is called once, from the loop;
 * it must not free the session. Returns 0 or negative errno. */
int session_start(sd_event *event, struct agent *agent, const struct exec_request *request,
	int stdin_fd, int stdout_fd, int stderr_fd, session_end_fn ended, void *userdata,
	struct session **ret);
struct session *session_free(struct session *s);
DEFINE_CLEANUP(struct session *, session_free)

/* The process's stream, for signals and sizes; NULL once it ended. */
struct stream *session_stream(const struct session *s);

/* The shell's exit status for the end of a process: its own, 128 + signal, 127 if it was not found
 * and 126 if it could not be run, 125 if what should come before (its directory, its user) failed,
 * and -1 when the VM was lost. */
int session_exit_code(const struct session_end *end);
