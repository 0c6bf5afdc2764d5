#include "controller/csr.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define RSA_BITS_MIN          2048
#define RSA_BITS_MAX          4096 /* more keeps a processor busy for each connection */
#define RSA_EXPONENT_BITS_MAX 33

static X509_REQ *csr_free(X509_REQ *request)
{
	X509_REQ_free(request);
	return NULL;
}
DEFINE_CLEANUP(X509_REQ *, csr_free)

/* Else libcrypto would ask at the terminal. */
static int refuse_password(char *text, int size, int rwflag, void *userdata)
{
	return -1;
}

static X509_REQ *read_pem(const char *text, size_t length)
{
	BIO *bio = BIO_new_mem_buf(text, (int)length);
	X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, refuse_password, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	return request;
}

static bool is_good_rsa(const EVP_PKEY *key)
{
	BIGNUM *exponent = NULL;
	int bits = EVP_PKEY_get_bits(key);
	bool good = bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX &&
		    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 &&
		    BN_num_bits(exponent) <= RSA_EXPONENT_BITS_MAX;

	BN_free(exponent);
	return good;
}

static bool is_good_key(const EVP_PKEY *key)
{
	char group[64];
	size_t n;

	if (EVP_PKEY_is_a(key, "ED25519"))
		return true;
	if (EVP_PKEY_is_a(key, "RSA"))
		return is_good_rsa(key);
	return EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
	       (streq(group, "prime256v1") || streq(group, "secp384r1"));
}

int csr_parse(const char *text, EVP_PKEY **ret, char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	size_t length = strlen(text);
	X509_REQ *request AUTO(csr_freep) = length <= CSR_TEXT_MAX ? read_pem(text, length) : NULL;
	EVP_PKEY *key = request ? X509_REQ_get0_pubkey(request) : NULL;

	*ret = NULL;
	if (!request)
		return fail(err, -EINVAL,
			"this is no request for a certificate (PKCS #10, PEM, at most %d bytes)",
			CSR_TEXT_MAX);
	if (!key || !is_good_key(key)) {
		ERR_clear_error();
		return fail(err, -EINVAL,
			"the request's key is of a kind or size that is not signed; use EC P-256 or "
			"P-384, Ed25519, or RSA with %d to %d bits",
			RSA_BITS_MIN, RSA_BITS_MAX);
	}
	if (X509_REQ_verify(request, key) != 1) {
		ERR_clear_error();
		return fail(err, -EINVAL, "the request is not signed by its own key");
	}
	if (ret_digest && digest_bytes(text, length, ret_digest) < 0)
		return fail(err, -ENOMEM, "out of memory");
	if (EVP_PKEY_up_ref(key) != 1)
		return fail(err, -ENOMEM, "out of memory");
	*ret = key;
	return 0;
}
