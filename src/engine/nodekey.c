#include "engine/nodekey.h"

#include <errno.h>
#include <openssl/pem.h>

#include "lib/openssl.h"

#define CURVE "P-256"

/* What was written, as text for free(). */
static char *bio_take_text(BIO *bio)
{
	char *data = NULL;
	long n = BIO_get_mem_data(bio, &data);

	return n > 0 ? strndup(data, (size_t)n) : NULL;
}

int nodekey_make(char **ret, struct error *err)
{
	EVP_PKEY *key AUTO(key_freep) = EVP_EC_gen(CURVE);
	BIO *bio AUTO(bio_freep) = BIO_new(BIO_s_secmem());

	*ret = NULL;
	if (!key || !bio || !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return fail(err, -EIO, "cannot make a key");
	*ret = bio_take_text(bio);
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}

static bool set_name(X509_REQ *request, const char *name)
{
	X509_NAME *subject = X509_REQ_get_subject_name(request);

	return X509_NAME_add_entry_by_txt(
		       subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) == 1;
}

int nodekey_request(const char *key, const char *name, char **ret, struct error *err)
{
	BIO *in AUTO(bio_freep) = BIO_new_mem_buf(key, -1), *out AUTO(bio_freep) = NULL;
	EVP_PKEY *pkey AUTO(key_freep) = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : NULL;
	X509_REQ *request AUTO(request_freep) = X509_REQ_new();

	*ret = NULL;
	if (!pkey)
		return fail(err, -EINVAL, "the node's key is none");
	out = BIO_new(BIO_s_mem());
	if (!request || !out || !set_name(request, name) || !X509_REQ_set_pubkey(request, pkey) ||
		!X509_REQ_sign(request, pkey, EVP_sha256()) ||
		!PEM_write_bio_X509_REQ(out, request))
		return fail(err, -EINVAL, "cannot ask for a certificate for '%s'", name);
	*ret = bio_take_text(out);
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}
