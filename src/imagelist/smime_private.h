/* What verifying and signing share. */
#pragma once

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pkcs7.h>

#include "imagelist/smime.h"
#include "lib/openssl.h"

OPENSSL_DESTRUCTOR(X509_STORE, x509_store_free, X509_STORE_free)
OPENSSL_DESTRUCTOR(CMS_ContentInfo, cms_free, CMS_ContentInfo_free)
OPENSSL_DESTRUCTOR(PKCS7, pkcs7_free, PKCS7_free)

/* The last thing that libcrypto has complained about, behind `what`. Returns `code`. */
int smime_fail(struct error *err, int code, const char *what);

/* The names of a certificate, as image lists write them. Returns 0, -EBADMSG for one that could be
 * taken for another's, or -ENOMEM. */
int smime_names(X509 *certificate, struct smime_signer *ret, struct error *err);

/* Of one attribute of the subject, for free(); NULL: there is none. */
char *smime_subject_part(const X509 *certificate, int nid);
