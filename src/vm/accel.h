/* How the guest's instructions are executed. */
#pragma once

#include "lib/error.h"

enum accel {
	ACCEL_TCG, /* software emulation: works everywhere, slowly */
	ACCEL_KVM,
	ACCEL_AUTO, /* not decided yet */
};

const char *accel_name(enum accel accel);

/* ACCEL_AUTO for a word that is none. */
enum accel accel_parse(const char *name);

/* How much translated code software emulation may keep, in MiB, for a VM of this shape. QEMU's own
 * default is 1 GiB, or an eighth of the host's memory: a job that was given 1 GiB would be killed
 * for it. When it is full, all is thrown away and translated again; a sixteenth of the guest's
 * memory is rarely full twice, and each CPU needs room of its own. */
uint64_t accel_cache_mib(uint64_t cpus, uint64_t memory_mib);

/* What `--accel auto` means on this host now. That /dev/kvm opens does not say that guests run with
 * it (nested or restricted hosts let them hang), so a verdict is only ever learned from a guest's
 * start, by accel_learn(), and holds until the host reboots or QEMU changes.
 *
 * Returns ACCEL_KVM with *ret_trial set when KVM can be opened but no guest was seen to run with it
 * yet: start with KVM, with a short deadline, and tell accel_learn() how it went. */
enum accel accel_choose(const char *qemu, bool *ret_trial);

/* Records whether a guest ran with KVM. Failure to record is harmless: the next start tries again.
 */
void accel_learn(const char *qemu, bool kvm_works);
