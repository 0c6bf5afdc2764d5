/* The user without rights as whom the daemon runs `wnodes`: what boots a guest is not for root. */
#pragma once

#include <systemd/sd-event.h>

#include "engine/settings.h"
#include "lib/strv.h"

struct servant;

/* [node] user, with a directory of its own in the daemon's, `state`, and with settings that the
 * daemon writes there: the same QEMU, and no daemon. Without an account *ret is NULL, which is
 * logged. Returns 0 or negative errno. */
int servant_new(const struct settings *settings, const char *state, struct servant **ret,
	struct error *err);
struct servant *servant_free(struct servant *s);
DEFINE_CLEANUP(struct servant *, servant_free)

uid_t servant_uid(const struct servant *s);
gid_t servant_gid(const struct servant *s);

/* Its directory, in which nothing can be trusted. */
const char *servant_home(const struct servant *s);

/* Runs `wnodes ARGUMENTS...`, until `done` is called with its exit status (child_wait()), or for
 * `life_us` at most. `arguments` are for the call only. */
struct servant_task {
	void (*done)(int status, void *userdata);
	void *userdata;
	sd_event_source *child, *deadline;
	int pidfd;     /* -1: nothing runs */
	char name[64]; /* of the program, for messages */
};
int servant_start(struct servant *s, sd_event *event, struct servant_task *task,
	const struct strv *arguments, uint64_t life_us, struct error *err);

/* The same with any program; argv[0] is looked up in PATH. */
int servant_start_program(struct servant *s, sd_event *event, struct servant_task *task,
	const struct strv *argv, uint64_t life_us, struct error *err);

/* Kills it, if it runs; `done` is not called. */
void servant_stop(struct servant_task *task);
