/* Signing, by the older of OpenSSL's two interfaces, whose messages all that read image lists can
 * read. */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "imagelist/smime_private.h"

struct smime_identity {
	EVP_PKEY *key;
	X509 *certificate;
	STACK_OF(X509) * chain;
	struct smime_signer names;
	char *common_name, *email;
};

struct smime_identity *smime_identity_free(struct smime_identity *identity)
{
	if (!identity)
		return NULL;
	EVP_PKEY_free(identity->key);
	X509_free(identity->certificate);
	sk_X509_pop_free(identity->chain, X509_free);
	smime_signer_done(&identity->names);
	free(identity->common_name);
	free(identity->email);
	free(identity);
	return NULL;
}

static int open_pem(const char *path, BIO **ret, struct error *err)
{
	ERR_clear_error();
	*ret = BIO_new_file(path, "r");
	if (*ret)
		return 0;
	ERR_clear_error();
	return fail_errno(err, errno > 0 ? -errno : -EIO, "cannot read '%s'", path);
}

static int read_certificate(BIO *bio, const char *path, X509 **ret, struct error *err)
{
	*ret = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (*ret)
		return 0;
	ERR_clear_error();
	return fail(err, -EINVAL, "'%s' has no certificate in PEM", path);
}

static int load_certificates(struct smime_identity *identity, const char *path, struct error *err)
{
	BIO *bio AUTO(bio_freep) = NULL;
	int r = open_pem(path, &bio, err);
	X509 *more;

	if (r == 0)
		r = read_certificate(bio, path, &identity->certificate, err);
	if (r < 0)
		return r;
	while ((more = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
		if (sk_X509_push(identity->chain, more) == 0) {
			X509_free(more);
			return fail(err, -ENOMEM, "out of memory");
		}
	ERR_clear_error();
	return 0;
}

static int load_key(struct smime_identity *identity, const char *path, struct error *err)
{
	BIO *bio AUTO(bio_freep) = NULL;
	int r = open_pem(path, &bio, err);

	if (r < 0)
		return r;
	identity->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	if (!identity->key) {
		smime_fail(err, -EINVAL, "no private key can be read");
		return fail_within(err, "'%s'", path);
	}
	if (X509_check_private_key(identity->certificate, identity->key) != 1) {
		ERR_clear_error();
		return fail(err, -EINVAL, "the key in '%s' is not that of the certificate", path);
	}
	return 0;
}

static int load_names(struct smime_identity *identity, struct error *err)
{
	STACK_OF(OPENSSL_STRING) *emails = X509_get1_email(identity->certificate);
	int r = smime_names(identity->certificate, &identity->names, err);

	identity->common_name = smime_subject_part(identity->certificate, NID_commonName);
	if (sk_OPENSSL_STRING_num(emails) > 0)
		identity->email = strdup(sk_OPENSSL_STRING_value(emails, 0));
	X509_email_free(emails);
	return r;
}

int smime_identity_open(
	const char *certificate, const char *key, struct smime_identity **ret, struct error *err)
{
	struct smime_identity *identity AUTO(smime_identity_freep) = calloc(1, sizeof(*identity));
	int r;

	if (!identity)
		return fail(err, -ENOMEM, "out of memory");
	identity->chain = sk_X509_new_null();
	r = identity->chain ? load_certificates(identity, certificate, err)
			    : fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = load_key(identity, key, err);
	if (r == 0)
		r = load_names(identity, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(identity);
	return 0;
}

int smime_read_names(const char *certificate, struct smime_signer *ret, struct error *err)
{
	BIO *bio AUTO(bio_freep) = NULL;
	X509 *x AUTO(x509_freep) = NULL;
	int r = open_pem(certificate, &bio, err);

	if (r == 0)
		r = read_certificate(bio, certificate, &x, err);
	return r < 0 ? r : smime_names(x, ret, err);
}

const struct smime_signer *smime_identity_names(const struct smime_identity *identity)
{
	return &identity->names;
}

const char *smime_identity_common_name(const struct smime_identity *identity)
{
	return identity->common_name;
}

const char *smime_identity_email(const struct smime_identity *identity)
{
	return identity->email;
}

static int copy_out(BIO *bio, struct buffer *ret, struct error *err)
{
	char *data = NULL;
	long n = BIO_get_mem_data(bio, &data);

	return buffer_append(ret, data, (size_t)n) < 0 ? fail(err, -ENOMEM, "out of memory") : 0;
}

int smime_sign(const struct smime_identity *identity, const char *text, size_t length,
	struct buffer *ret, struct error *err)
{
	/* Streamed: PKCS7_TEXT puts its header before what is hashed as it is written. */
	static const int flags = PKCS7_DETACHED | PKCS7_TEXT | PKCS7_STREAM;
	BIO *in AUTO(bio_freep) = BIO_new_mem_buf(text, (int)length);
	BIO *out AUTO(bio_freep) = BIO_new(BIO_s_mem());
	PKCS7 *p7 AUTO(pkcs7_freep) = NULL;

	if (!in || !out)
		return fail(err, -ENOMEM, "out of memory");
	ERR_clear_error();
	p7 = PKCS7_sign(NULL, NULL, identity->chain, in, flags | PKCS7_PARTIAL);
	if (!p7 || !PKCS7_sign_add_signer(
			   p7, identity->certificate, identity->key, EVP_sha256(), flags))
		return smime_fail(err, -EIO, "cannot sign");
	if (SMIME_write_PKCS7(out, p7, in, flags) != 1)
		return smime_fail(err, -EIO, "cannot write the signed text");
	return copy_out(out, ret, err);
}
