/* Objects of OpenSSL's that are released with their scope: `X509 *x AUTO(x509_freep) = ...`. */
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "lib/base.h"

#define OPENSSL_DESTRUCTOR(type, name, release) \
	static inline type *name(type *p)       \
	{                                       \
		release(p);                     \
		return NULL;                    \
	}                                       \
	DEFINE_CLEANUP(type *, name)

OPENSSL_DESTRUCTOR(X509, x509_free, X509_free)
OPENSSL_DESTRUCTOR(X509_REQ, request_free, X509_REQ_free)
OPENSSL_DESTRUCTOR(EVP_PKEY, key_free, EVP_PKEY_free)
OPENSSL_DESTRUCTOR(BIO, bio_free, BIO_free)
