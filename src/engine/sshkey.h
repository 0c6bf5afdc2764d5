/* Host keys for sshd. Made here and not in the guest, where it would take longer than all the rest
 * of a clone's start; so the host also knows by which key it recognises the VM. */
#pragma once

#include "lib/base.h"

/* Makes an Ed25519 key pair, as the texts of OpenSSH's files: the private key without a passphrase
 * (PROTOCOL.key of OpenSSH) and the public key's line without
 * its end (RFC 8709). Both are the caller's to free.
 * Returns 0, -EIO if libcrypto fails, or -ENOMEM. */
int sshkey_make(const char *comment, char **ret_private, char **ret_public);
