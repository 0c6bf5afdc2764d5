/* Who a VM is: what must differ between two clones of one template. */
#pragma once

#include "lib/error.h"

#define IDENTITY_ENTROPY_BYTES 64

struct vm_identity {
	uint8_t entropy[IDENTITY_ENTROPY_BYTES];
	char machine_id[33];  /* 32 hex digits, a random UUID as machine-id(5) wants */
	char boot_id[37];     /* a random UUID, RFC 4122 */
	char *ssh_key;        /* Ed25519, as the text of OpenSSH's private key file */
	char *ssh_public_key; /* the line for known_hosts and .pub */
};

/* The identity of no VM, which a template is given: what a clone gets is of the same length, so
 * that the files which hold it need only be written over. */
#define VM_IDENTITY_NOBODY_NAME "vm-00000000"
#define VM_IDENTITY_NOBODY_ID   "00000000000000000000000000000000"
#define VM_IDENTITY_NOBODY_BOOT "00000000-0000-0000-0000-000000000000"

/* The address of a VM's name when it has no network. */
#define VM_IDENTITY_LOCAL_ADDRESS "127.0.1.1"

/* How /etc/hosts begins. */
#define VM_IDENTITY_LOOPBACK "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"

/* What /etc/hosts is to say, for the caller to free; NULL when out of memory. */
char *vm_identity_hosts(const char *address, const char *hostname);

#define VM_IDENTITY_HOSTNAME_MAX 64 /* of Linux */

/* Would a guest take this as its name? */
bool vm_identity_is_hostname(const char *text);

/* Makes one from the host's randomness; `hostname` is the keys' comment. Returns 0 or -errno. */
int vm_identity_new(const char *hostname, struct vm_identity *ret, struct error *err);
void vm_identity_done(struct vm_identity *x);
