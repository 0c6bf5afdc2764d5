#include "engine/nodekey.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cmocka.h>

static void request_is_of_the_key_and_the_name(void **state)
{
	autofree char *key = NULL, *text = NULL;
	struct error err = {0};
	char name[64] = "";
	X509_REQ *request;
	EVP_PKEY *pkey;
	BIO *bio;

	assert_int_equal(nodekey_make(&key, &err), 0);
	assert_non_null(strstr(key, "PRIVATE KEY"));
	assert_int_equal(nodekey_request(key, "wn-1.example", &text, &err), 0);
	bio = BIO_new_mem_buf(text, -1);
	request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	BIO_free(bio);
	assert_non_null(request);
	bio = BIO_new_mem_buf(key, -1);
	pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	assert_int_equal(X509_REQ_verify(request, pkey), 1);
	X509_NAME_get_text_by_NID(
		X509_REQ_get_subject_name(request), NID_commonName, name, sizeof(name));
	assert_string_equal(name, "wn-1.example");
	X509_REQ_free(request);
	EVP_PKEY_free(pkey);
}

static void what_is_no_key_is_refused(void **state)
{
	struct error err = {0};
	char *text;

	assert_int_equal(nodekey_request("", "n", &text, &err), -EINVAL);
	assert_int_equal(
		nodekey_request("-----BEGIN PRIVATE KEY-----\n", "n", &text, &err), -EINVAL);
	assert_null(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_of_the_key_and_the_name),
		cmocka_unit_test(what_is_no_key_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
