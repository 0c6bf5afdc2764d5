/* The options that say what VM a command is to run in: those of `wnodes run`, and of all verbs that
 * lead to one. */
#pragma once

#include "cli/verb.h"
#include "engine/request.h"

struct vm_options {
	const char *image, *workdir, *network, *accel, *start, *root, *report;
	uint64_t cpus, memory, scratch, timeout; /* bytes and microseconds; 0: the settings' */
	uint64_t disk_iops, disk_rate;           /* a second; 0: the settings' */
	struct verb_list mounts, volumes, env;
	bool verbose, scratch_given, timeout_given;
};

#define VM_OPTIONS_MIB      UINT64_C(1048576)
#define VM_OPTIONS_CPU_MAX  256
#define VM_OPTIONS_IOPS_MAX 100000000

/* Rows for a verb's table, whose struct of options has a `struct vm_options` as `member`. */
#define VM_OPTIONS(type, member)                                                                   \
	VM_ROW(type, member, "image", 'i', OPTION_STRING, image, "NAME[:TAG]", NULL, "image",      \
		"Image to start from; see wnodes image list"),                                     \
		VM_ROW(type, member, "cpus", 'c', OPTION_NUMBER, cpus, "N", NULL, NULL,            \
			"Virtual CPUs", 1, VM_OPTIONS_CPU_MAX),                                    \
		VM_ROW(type, member, "memory", 'm', OPTION_SIZE, memory, "SIZE", NULL, NULL,       \
			"Memory of the VM, for example 2G", VM_OPTIONS_MIB,                        \
			64 * VM_OPTIONS_MIB * VM_OPTIONS_MIB),                                     \
		VM_ROW(type, member, "scratch", 0, OPTION_SIZE, scratch, "SIZE", NULL, NULL,       \
			"Adds an empty disk of this size, seen as /scratch and /tmp; 0: none, "    \
			"whatever the settings say",                                               \
			.given = offsetof(type, member.scratch_given)),                            \
		VM_ROW(type, member, "root", 0, OPTION_CHOICE, root, "KIND", SETTINGS_ROOTS, NULL, \
			"What the root disk is: overlay (a file over the image), or lvm (a "       \
			"snapshot of the image on a volume of the node; the VM boots then)"),      \
		VM_ROW(type, member, "disk-iops", 0, OPTION_NUMBER, disk_iops, "N", NULL, NULL,    \
			"How many times a second the VM may read or write its disks", 1,           \
			VM_OPTIONS_IOPS_MAX),                                                      \
		VM_ROW(type, member, "disk-rate", 0, OPTION_SIZE, disk_rate, "SIZE", NULL, NULL,   \
			"How much a second the VM may read from its disks and write to them, for " \
			"example 100M",                                                            \
			VM_OPTIONS_MIB, VM_OPTIONS_MIB *VM_OPTIONS_MIB),                           \
		VM_ROW(type, member, "mount", 'v', OPTION_LIST, mounts, SHARE_SYNTAX, NULL, "dir", \
			"Shows the host directory HOST in the VM, at the same path or at GUEST. "  \
			"May be repeated. The current directory and $HOME are mounted without "    \
			"asking, unless one of the mounts is none"),                               \
		VM_ROW(type, member, "volume", 0, OPTION_LIST, volumes, VOLUME_SYNTAX, NULL, NULL, \
			"Mounts a volume of yours in the VM, at /volumes/NAME or at DIR; see "     \
			"wnodes volume create. May be repeated. The VM boots then"),               \
		VM_ROW(type, member, "workdir", 'w', OPTION_STRING, workdir, "DIR", NULL, NULL,    \
			"Directory in the VM that the command starts in; the current one by "      \
			"default, from which a relative DIR counts"),                              \
		VM_ROW(type, member, "env", 'e', OPTION_LIST, env, "NAME[=VALUE]", NULL, NULL,     \
			"Environment variable for the command; without a value, your own one. "    \
			"NAME may be a pattern such as 'OMP_*'. May be repeated"),                 \
		VM_ROW(type, member, "network", 0, OPTION_STRING, network, "KIND",                 \
			"none|user|bridge", NULL,                                                  \
			"none; user: the VM reaches the network as you do, nothing reaches it; "   \
			"or NAME, one of the node's networks (bridge: its first)"),                \
		VM_ROW(type, member, "timeout", 0, OPTION_DURATION, timeout, "DURATION", NULL,     \
			NULL,                                                                      \
			"Ends the command with SIGTERM after this time, for example 1h30m, and "   \
			"the VM after a grace; the exit status is then 124. 0: no limit, "         \
			"whatever the settings say",                                               \
			.given = offsetof(type, member.timeout_given)),                            \
		VM_ROW(type, member, "accel", 0, OPTION_CHOICE, accel, "KIND", "auto|kvm|tcg",     \
			NULL,                                                                      \
			"kvm, tcg (software emulation, slow), or auto: kvm if guests run with "    \
			"it"),                                                                     \
		VM_ROW(type, member, "start", 0, OPTION_CHOICE, start, "HOW", "auto|clone|boot",   \
			NULL,                                                                      \
			"clone: from a template of the image, in a tenth of a second; boot; or "   \
			"auto: clone if there is a template, else boot, and make one in the "      \
			"background"),                                                             \
		VM_ROW(type, member, "report", 0, OPTION_STRING, report, "FILE", NULL, "file",     \
			"Writes a JSON report: phases with their times, exit status, bytes, "      \
			"memory"),                                                                 \
		VM_ROW(type, member, "verbose", 0, OPTION_FLAG, verbose, NULL, NULL, NULL,         \
			"Says what is done")

#define VM_ROW(type, member, name, letter, kind, field, argument, choices, complete, ...)      \
	{                                                                                      \
		name, letter, kind, offsetof(type, member.field), argument, choices, complete, \
			__VA_ARGS__                                                            \
	}

/* Lays the options over the request's settings; its caller, settings and argv must be set. `tty`:
 * the command is to have a terminal. Returns 0 or negative errno with what is wrong. */
int vm_options_fill(
	const struct vm_options *options, bool tty, struct request *request, struct error *err);

/* Adds the options as words for `wnodes run`, without those that were not given. Returns 0 or
 * -ENOMEM. */
int vm_options_unparse(const struct vm_options *options, struct strv *ret);
