#include "controller/fixture_test.h"

#include <assert.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>

#include "controller/schema.h"
#include "lib/file.h"

static char top[] = "/tmp/controller-test.XXXXXX";

const char *fixture_open(struct sql **ret)
{
	struct error err = {0};
	char url[64];

	strcpy(top + sizeof(top) - 7, "XXXXXX");
	assert(mkdtemp(top));
	snprintf(url, sizeof(url), "sqlite:%s/site.db", top);
	if (sql_open(url, ret, &err) < 0 || schema_upgrade(*ret, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	return top;
}

void fixture_close(struct sql *db)
{
	sql_free(db);
	file_remove_tree(AT_FDCWD, top);
}

char *fixture_csr(const char *name, EVP_PKEY *key)
{
	X509_REQ *request = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long length;

	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_ASC,
		(const unsigned char *)name, -1, -1, 0);
	X509_REQ_set_pubkey(request, key);
	X509_REQ_sign(request, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256());
	PEM_write_bio_X509_REQ(bio, request);
	length = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)length);
	BIO_free(bio);
	X509_REQ_free(request);
	return text;
}

unsigned char *fixture_der(const char *pem, size_t *ret_length)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);

	assert(n > 0);
	*ret_length = (size_t)n;
	X509_free(x);
	BIO_free(bio);
	return der;
}
