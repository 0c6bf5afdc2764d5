/* Where a trial runs: on the host itself, or in a VM of a kind. */
#pragma once

#include "bench/trial.h"
#include "lib/error.h"
#include "lib/strv.h"

#define PLACES_MAX 16

enum place_kind {
	PLACE_BARE,
	PLACE_BOOT,    /* a VM that has booted */
	PLACE_CLONE,   /* a VM from a template */
	PLACE_GATEWAY, /* a VM with a directory of the host, by this gateway */
	PLACE_NETWORK, /* a VM with this network */
};

struct place {
	enum place_kind kind;
	const char *name;    /* "bare", "boot", "clone", or of the gateway or the network */
	const char *address; /* network: of the host, as the VM sees it */
};

/* What all VMs are like, and where the host's own trials work. */
struct place_vm {
	const char *program; /* wnodes */
	const char *image;
	uint64_t cpus, memory_mib, scratch_bytes;
	const char *directory; /* of the host, to work in; absolute */
};

/* Where the VM sees the shared directory, and where its own disk is. */
#define PLACE_SHARE_TARGET "/bench"
#define PLACE_VM_WORK      "/tmp"

/* Reads "bare", "boot" or "clone". Returns 0 or -EINVAL. */
int place_parse_local(const char *text, struct place *ret, struct error *err);

/* Reads "user" or "NAME=ADDRESS", which is split in place. Returns 0 or -EINVAL. */
int place_parse_network(char *text, struct place *ret, struct error *err);

bool place_is_vm(const struct place *p);

/* Does this kind of trial run there? */
bool place_suits(const struct place *p, const struct trial *t);

/* The command that runs `script` by sh(1) there. Check argv->failed. */
void place_fill_command(const struct place *p, const struct place_vm *vm, const char *report,
	const char *script, struct strv *argv);

/* The directory that the script works in. */
const char *place_work(const struct place *p, const struct place_vm *vm);
