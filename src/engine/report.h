/* The report of a run: what `--report` writes and `wnodes vm show` prints. */
#pragma once

#include <jansson.h>

#include "engine/local.h"
#include "engine/phase.h"
#include "vm/vm.h"

/* What is known of a VM so far. */
struct report {
	const char *name;
	const struct request *request;
	const struct resources *resources;
	const struct share_list *shares; /* with their gateways, once they are chosen */
	const struct phase_clock *phases;
	enum accel accel;
	pid_t qemu_pid;
	char template_key[DIGEST_HEX_SIZE]; /* that the VM was cloned from; "" if it booted */
	struct vm_times times;              /* of the start, once the agent answered */
	/* the end, once it is known */
	bool ended;
	int exit_code;
	const char *reason; /* NULL: none */
	struct exit_status command;
	bool has_command;
	uint64_t bytes_to_guest, bytes_from_guest;
	uint64_t qemu_rss_kib, qemu_user_us, qemu_system_us;
	struct vm_usage usage;  /* if the request asked for it */
	uint64_t guest_boot_us; /* the guest's own clock at its hello */
};

/* Returns a new object, or NULL when out of memory. */
json_t *report_to_json(const struct report *r);

/* Can a report be written there? To be asked before hours are spent on what it is to tell. Returns
 * 0 or negative errno. */
int report_check(const char *path, struct error *err);

/* Writes the report to a file, whole or not at all. Returns 0 or negative errno. */
int report_write(const struct report *r, const char *path, struct error *err);
