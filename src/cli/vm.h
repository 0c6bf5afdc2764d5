/* What the verbs of `wnodes vm` share: finding one of the caller's running VMs and asking it. */
#pragma once

#include <jansson.h>

#include "cli/verb.h"

/* Connects to the control socket of the VM with this name, or a unique beginning of one.
 * Returns a descriptor or negative errno. */
int vm_connect(const char *name, struct error *err);

/* Asks a VM what it is; *ret is for json_decref(). Returns 0 or negative errno. */
int vm_ask(const char *name, json_t **ret, struct error *err);

extern const struct verb verb_vm_list, verb_vm_show, verb_vm_console, verb_vm_exec, verb_vm_ssh,
	verb_vm_stop;
