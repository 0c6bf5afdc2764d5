#include "serve/tls.h"

#include <errno.h>

#define CHAIN_MAX 8

struct certificate {
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned int length;
	gnutls_privkey_t key;
	struct certificate *before; /* handshakes may be using it */
};

/* A program has one: its callback is not told of whom it is. */
static _Atomic(struct certificate *) current;

static void certificate_free(struct certificate *c)
{
	for (unsigned int i = 0; i < c->length; i++)
		gnutls_pcert_deinit(&c->chain[i]);
	if (c->key)
		gnutls_privkey_deinit(c->key);
	free(c);
}

static int fill(struct certificate *c, const char *chain, const char *key, struct error *err)
{
	gnutls_datum_t chain_text = {(void *)(uintptr_t)chain, (unsigned int)strlen(chain)};
	gnutls_datum_t key_text = {(void *)(uintptr_t)key, (unsigned int)strlen(key)};
	unsigned int length = CHAIN_MAX;
	int r = gnutls_pcert_list_import_x509_raw(c->chain, &length, &chain_text,
		GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

	if (r < 0)
		return fail(err, -EINVAL, "the certificate cannot be used: %s", gnutls_strerror(r));
	c->length = length;
	r = gnutls_privkey_init(&c->key);
	if (r >= 0)
		r = gnutls_privkey_import_x509_raw(c->key, &key_text, GNUTLS_X509_FMT_PEM, NULL, 0);
	return r < 0 ? fail(err, -EINVAL, "the certificate's key cannot be used: %s",
			       gnutls_strerror(r))
		     : 0;
}

/* A key that is another's would be seen by clients only. */
static int check_pair(const struct certificate *c, struct error *err)
{
	unsigned char of_key[64], of_certificate[64];
	size_t key_size = sizeof(of_key), certificate_size = sizeof(of_certificate);
	gnutls_pubkey_t public = NULL;
	int r = gnutls_pubkey_init(&public);

	if (r >= 0)
		r = gnutls_pubkey_import_privkey(public, c->key, 0, 0);
	if (r >= 0)
		r = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, of_key, &key_size);
	if (r >= 0)
		r = gnutls_pubkey_get_key_id(c->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256,
			of_certificate, &certificate_size);
	if (public)
		gnutls_pubkey_deinit(public);
	if (r < 0)
		return fail(err, -EINVAL, "the certificate's key cannot be used: %s",
			gnutls_strerror(r));
	return key_size == certificate_size && memcmp(of_key, of_certificate, key_size) == 0
		       ? 0
		       : fail(err, -EINVAL, "the key is not that of the certificate");
}

int tls_set_certificate(const char *chain, const char *key, struct error *err)
{
	struct certificate *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return fail(err, -ENOMEM, "out of memory");
	r = fill(c, chain, key, err);
	if (r == 0)
		r = check_pair(c, err);
	if (r < 0) {
		certificate_free(c);
		return r;
	}
	c->before = current;
	current = c;
	return 0;
}

void tls_done(void)
{
	struct certificate *c = current;

	current = NULL;
	while (c) {
		struct certificate *before = c->before;

		certificate_free(c);
		c = before;
	}
}

int tls_give_certificate(gnutls_session_t session, const gnutls_datum_t *names, int names_count,
	const gnutls_pk_algorithm_t *algorithms, int algorithms_count, gnutls_pcert_st **ret,
	unsigned int *ret_length, gnutls_privkey_t *ret_key)
{
	struct certificate *c = current;

	if (!c)
		return -1;
	*ret = c->chain;
	*ret_length = c->length;
	*ret_key = c->key;
	return 0;
}
