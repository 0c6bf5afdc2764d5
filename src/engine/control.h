/* The control socket of a running VM: how `wnodes vm` looks at it, watches its console, runs more
 * commands in it and stops it. Only the VM's owner and root may connect.
 *
 *   {"op":"show"}                                  -> {"vm":{...}}
 *   {"op":"console"}                               -> {} and a descriptor to read from
 *   {"op":"stop"}                                  -> {}
 *   {"op":"exec","argv":[..],"env":[..],"workdir":"..","tty":b,"rows":n,"columns":n}
 *     with stdin, stdout and stderr                -> {"exit":{...}} when it has ended
 *     and "wait":true: also before the VM can run it -> {"started":true} when it does
 *     and "cpus":[..]: it runs on these of the VM's CPUs
 *   {"op":"signal","signal":n,"group":b}           during exec, no answer
 *   {"op":"resize","rows":n,"columns":n}           during exec, no answer
 * Of a command that was killed (SIGKILL) "exit" says "memory_full":true if the VM's memory was.
 * The answer to the last command that the VM is there for says "last":true; the VM ends then, and
 * so does the connection. A request that fails is answered by {"error":"..."}. */
#pragma once

#include <jansson.h>
#include <systemd/sd-event.h>

#include "engine/caller.h"
#include "lib/error.h"
#include "vm/vm.h"

struct control;

/* What the socket's owner lends. */
struct control_host {
	/* A new object that describes the VM. */
	json_t *(*show)(void *userdata);
	/* The VM if commands can be run in it now, else NULL. */
	struct vm *(*vm)(void *userdata);
	/* Whose rights commands get in the VM. */
	const struct caller *caller;
	void (*stop)(void *userdata);
	/* The VM as soon as there is one, for its console; NULL: what `vm` gives. */
	struct vm *(*any_vm)(void *userdata);
	/* A command has ended, or whoever asked for it is gone. Returns true if it was the last
	 * that the VM is there for. NULL: the VM is there for other reasons. */
	bool (*command_ended)(void *userdata);
};

/* Listens on `path`. Returns 0 or negative errno. */
int control_open(sd_event *event, const char *path, const struct control_host *host, void *userdata,
	struct control **ret, struct error *err);

/* Ends all connections; commands that they run are killed. */
struct control *control_free(struct control *c);
DEFINE_CLEANUP(struct control *, control_free)

/* The VM can run commands now: begins with those that wait. */
void control_start_waiting(struct control *c);

/* There will be no VM: tells those that wait why. */
void control_refuse_waiting(struct control *c, const char *why);

/* Does a command run, or wait? */
bool control_is_busy(const struct control *c);

/* The commands lose their VM: called before the VM is freed. */
void control_end_sessions(struct control *c);
