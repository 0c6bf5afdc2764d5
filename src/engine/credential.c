#include "engine/credential.h"

#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "lib/file.h"
#include "lib/openssl.h"
#include "lib/timestamp.h"

#define PEM_TEXT_MAX 65536
#define NAME_SIZE    256

static X509 *parse_certificate(const char *text)
{
	BIO *bio AUTO(bio_freep) = BIO_new_mem_buf(text, -1);

	return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

static EVP_PKEY *parse_key(const char *text)
{
	BIO *bio AUTO(bio_freep) = BIO_new_mem_buf(text, -1);

	return bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
}

static uint64_t time_us(const ASN1_TIME *t)
{
	struct tm tm = {0};
	time_t s = ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;

	return s > 0 ? (uint64_t)s * 1000000 : 0;
}

static char *read_text(int fd)
{
	char *text = calloc(1, PEM_TEXT_MAX);
	ssize_t n = text ? pread(fd, text, PEM_TEXT_MAX - 1, 0) : -1;

	if (n > 0)
		return text;
	free(text);
	return NULL;
}

/* A file without a name that only we have. */
static int hold(const char *text, char path[CREDENTIAL_PATH_MAX])
{
	int fd = memfd_create("pem", MFD_CLOEXEC);

	if (fd < 0 || file_write_all(fd, text, strlen(text)) < 0)
		return base_close(fd);
	snprintf(path, CREDENTIAL_PATH_MAX, "/proc/self/fd/%d", fd);
	return fd;
}

static int check_all(struct credential *c, struct error *err)
{
	X509 *certificate AUTO(x509_freep) = parse_certificate(c->certificate);
	X509 *ca AUTO(x509_freep) = parse_certificate(c->ca);
	EVP_PKEY *key AUTO(key_freep) = parse_key(c->key);

	if (!certificate || !ca || !key)
		return fail(err, -EINVAL, "the node's %s is damaged; have the node join again",
			!key  ? "key"
			: !ca ? "authority's certificate"
			      : "certificate");
	if (X509_check_private_key(certificate, key) != 1)
		return fail(err, -EINVAL,
			"the node's certificate is not for its key; have the node join again");
	c->begins_us = time_us(X509_get0_notBefore(certificate));
	c->ends_us = time_us(X509_get0_notAfter(certificate));
	return 0;
}

int credential_load(
	struct credential *c, int key_fd, int certificate_fd, int ca_fd, struct error *err)
{
	*c = (struct credential)CREDENTIAL_INIT;
	c->key = read_text(key_fd);
	c->certificate = read_text(certificate_fd);
	c->ca = read_text(ca_fd);
	if (!c->key || !c->certificate || !c->ca)
		return fail(err, -EINVAL, "the node's key or certificate cannot be read");
	if (check_all(c, err) < 0)
		return -EINVAL;
	c->fds[0] = hold(c->key, c->key_path);
	c->fds[1] = hold(c->certificate, c->certificate_path);
	c->fds[2] = hold(c->ca, c->ca_path);
	if (c->fds[0] < 0 || c->fds[1] < 0 || c->fds[2] < 0)
		return fail_errno(err, -errno, "cannot keep the node's key");
	return 0;
}

void credential_done(struct credential *c)
{
	if (c->key)
		explicit_bzero(c->key, strlen(c->key));
	free(c->key);
	free(c->certificate);
	free(c->ca);
	for (size_t i = 0; i < ARRAY_SIZE(c->fds); i++)
		base_close(c->fds[i]);
	*c = (struct credential)CREDENTIAL_INIT;
}

static uint64_t renewal_us(uint64_t begins_us, uint64_t ends_us)
{
	return begins_us + (ends_us - MIN_OF(begins_us, ends_us)) / 3 * 2;
}

uint64_t credential_renewal_us(const struct credential *c)
{
	return renewal_us(c->begins_us, c->ends_us);
}

static bool is_for(X509 *certificate, const char *name)
{
	char told[NAME_SIZE];

	return X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, told,
		       sizeof(told)) == (int)strlen(name) &&
	       streq(told, name);
}

int credential_check(
	const struct credential *c, const char *text, const char *name, struct error *err)
{
	X509 *certificate AUTO(x509_freep) = parse_certificate(text);
	X509 *ca AUTO(x509_freep) = parse_certificate(c->ca);
	EVP_PKEY *key AUTO(key_freep) = parse_key(c->key);

	if (!certificate || !ca || !key)
		return fail(err, -EINVAL, "a new certificate that is none");
	if (X509_check_private_key(certificate, key) != 1)
		return fail(err, -EINVAL, "a new certificate that is for another key");
	if (!is_for(certificate, name))
		return fail(
			err, -EINVAL, "a new certificate that is for another node than '%s'", name);
	if (X509_verify(certificate, X509_get0_pubkey(ca)) != 1)
		return fail(err, -EINVAL, "a new certificate that is of another authority");
	if (time_us(X509_get0_notAfter(certificate)) <= c->ends_us)
		return fail(err, -EINVAL, "a new certificate that lives no longer");
	if (timestamp_now_us() >= renewal_us(time_us(X509_get0_notBefore(certificate)),
					  time_us(X509_get0_notAfter(certificate))))
		return fail(err, -EINVAL,
			"a new certificate that is old: do the clocks of this node and of its site "
			"differ?");
	return 0;
}
