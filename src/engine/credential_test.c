#include "engine/credential.h"

#include <errno.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "lib/openssl.h"

#include <cmocka.h>

#define DAY 86400L

static EVP_PKEY *ca_key, *key, *other_key;

/* A certificate for `name`, of this authority, that lives so many days, as PEM for free(). */
static char *make(const char *name, EVP_PKEY *of, EVP_PKEY *signer, long days)
{
	X509 *x AUTO(x509_freep) = X509_new();
	BIO *bio AUTO(bio_freep) = BIO_new(BIO_s_mem());
	char *data;
	long n;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), days);
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), days * DAY);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
		(const unsigned char *)name, -1, -1, 0);
	X509_set_pubkey(x, of);
	assert_true(X509_sign(x, signer, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(bio, x), 1);
	n = BIO_get_mem_data(bio, &data);
	return strndup(data, (size_t)n);
}

static int file_of(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

static void load(struct credential *ret)
{
	autofree char *certificate = make("wn1", key, ca_key, 10);
	autofree char *ca = make("site", ca_key, ca_key, 100);
	BIO *bio AUTO(bio_freep) = BIO_new(BIO_s_mem());
	autofree char *text = NULL;
	struct error err = {0};
	char *data;
	int fds[3];
	long n;

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	n = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)n);
	for (int i = 0; i < 3; i++)
		fds[i] = file_of(i == 0 ? text : i == 1 ? certificate : ca);
	assert_int_equal(credential_load(ret, fds[0], fds[1], fds[2], &err), 0);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void only_our_next_certificate_is_taken(void **state)
{
	struct credential c AUTO(credential_done) = CREDENTIAL_INIT;
	const struct {
		const char *name;
		EVP_PKEY *of, *signer;
		long days;
		const char *reason; /* NULL: it is good */
	} cases[] = {
		{"wn1", key, ca_key, 30, NULL},
		{"wn2", key, ca_key, 30, "for another node"},
		{"wn", key, ca_key, 30, "for another node"},
		{"wn1.x", key, ca_key, 30, "for another node"},
		{"wn1", other_key, ca_key, 30, "for another key"},
		{"wn1", key, other_key, 30, "of another authority"},
		{"wn1", key, ca_key, 9, "lives no longer"},
	};

	load(&c);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *text =
			make(cases[i].name, cases[i].of, cases[i].signer, cases[i].days);
		struct error err = {0};
		int r = credential_check(&c, text, "wn1", &err);

		assert_int_equal(r, cases[i].reason ? -EINVAL : 0);
		if (cases[i].reason)
			assert_non_null(strstr(err.text, cases[i].reason));
	}
}

static void what_is_no_certificate_is_refused(void **state)
{
	struct credential c AUTO(credential_done) = CREDENTIAL_INIT;
	struct error err = {0};

	load(&c);
	assert_int_equal(credential_check(&c, "", "wn1", &err), -EINVAL);
	assert_int_equal(
		credential_check(&c, "-----BEGIN CERTIFICATE-----\nx", "wn1", &err), -EINVAL);
}

static int setup(void **state)
{
	ca_key = EVP_EC_gen("P-256");
	key = EVP_EC_gen("P-256");
	other_key = EVP_EC_gen("P-256");
	return !ca_key || !key || !other_key;
}

static int teardown(void **state)
{
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other_key);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_our_next_certificate_is_taken),
		cmocka_unit_test(what_is_no_certificate_is_refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
