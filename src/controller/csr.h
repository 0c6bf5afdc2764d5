/* A request for a certificate (PKCS #10, PEM), from anyone. Of it only the key is used: what the
 * certificate says is ours to say. */
#pragma once

#include <openssl/evp.h>

#include "lib/digest.h"
#include "lib/error.h"

#define CSR_TEXT_MAX 8192

/* Checks that the sender has the key, and that it is of a kind and a size that we sign: EC P-256 or
 * P-384, Ed25519, RSA from 2048 to 4096 bits. *ret is for EVP_PKEY_free(); ret_digest (may be NULL)
 * is the SHA-256 of the text. Returns 0, -EINVAL with what is wrong, or -ENOMEM. */
int csr_parse(
	const char *text, EVP_PKEY **ret, char ret_digest[DIGEST_HEX_SIZE], struct error *err);
