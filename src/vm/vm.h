/* One virtual machine: a QEMU process that is our child, its QMP, its agent and its console, from
 * start to end. */
#pragma once

#include <systemd/sd-event.h>

#include "vm/agent.h"
#include "vm/console.h"
#include "vm/qmp.h"
#include "vm/spec.h"
#include "vm/usage.h"

struct vm;

/* How a VM ended. */
struct vm_end {
	const char *reason; /* what happened, for a person; the first cause, not its consequences */
	bool asked;         /* vm_quit() or vm_kill() was called before */
	bool host_full;     /* the host had no room for the VM's writes */
	int wait_status;    /* of QEMU */
	uint64_t max_rss_kib;        /* of QEMU, at its peak */
	uint64_t user_us, system_us; /* CPU time of QEMU */
};

/* When the steps of a start were done, by clock_now_us(); 0: not yet. */
struct vm_times {
	uint64_t spawned;  /* QEMU runs */
	uint64_t ready;    /* it answers on QMP */
	uint64_t restored; /* a clone's guest goes on */
	uint64_t hello;    /* the agent answers */
};

/* Callbacks must not free the VM. */
struct vm_callbacks {
	void (*on_agent)(const struct hello_guest *hello, void *userdata);
	/* QEMU is gone and reaped. Called once, last. */
	void (*on_end)(const struct vm_end *end, void *userdata);
};

/* Starts QEMU. What `spec` points to and its descriptors are needed only during the call; the
 * descriptors stay the caller's. Returns 0 or negative errno with the reason. */
int vm_start(sd_event *event, const struct vm_spec *spec, const struct vm_callbacks *callbacks,
	void *userdata, struct vm **ret, struct error *err);

/* Kills and reaps QEMU if it still runs. */
struct vm *vm_free(struct vm *vm);
DEFINE_CLEANUP(struct vm *, vm_free)

struct agent *vm_agent(const struct vm *vm);
struct console *vm_console(const struct vm *vm);
struct qmp *vm_qmp(const struct vm *vm);
pid_t vm_pid(const struct vm *vm);

/* Is it gone, or was it told to go? */
bool vm_is_ending(const struct vm *vm);

/* What QEMU itself printed, for error messages. Returns the number of bytes. */
size_t vm_messages(const struct vm *vm, char *ret, size_t max);

/* "7.2.22", once QEMU has said so. */
void vm_qemu_version(const struct vm *vm, char *ret, size_t size);

void vm_get_times(const struct vm *vm, struct vm_times *ret);

/* Stops the guest for good and writes the state of its devices to `state_fd`, which must stay open
 * until `done` is called: with its memory's file that is a template. Returns 0 or -errno. */
int vm_save(struct vm *vm, int state_fd, void (*done)(const char *error, void *userdata),
	void *userdata);

/* Asks QEMU, and with `guest` the agent, what the VM has used so far, and calls `done` once with
 * what they said, after 2 s with what has been said until then; not once the VM is freed. One
 * question at a time. Returns 0 or negative errno. */
int vm_query_usage(struct vm *vm, bool guest,
	void (*done)(const struct vm_usage *usage, void *userdata), void *userdata);

/* Asks QEMU to end at once (the guest is not told), and kills it if it has not within 2 s. */
void vm_quit(struct vm *vm);
void vm_kill(struct vm *vm);
