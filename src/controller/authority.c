#include "controller/authority.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "lib/openssl.h"
#include "lib/strv.h"

#define SECOND          UINT64_C(1000000)
#define CA_LIFETIME_S   (20 * 365 * 24 * 3600L)
#define SERIAL_BYTES    16
#define ROW_CERTIFICATE "ca.certificate"
#define ROW_KEY         "ca.key"
#define USAGE_NODE      "critical,digitalSignature"
#define USAGE_NODE_RSA  "critical,digitalSignature,keyEncipherment"

struct authority {
	EVP_PKEY *key;
	X509 *certificate;
	X509_STORE *store; /* with the certificate alone */
	char *pem;
};

struct authority *authority_free(struct authority *a)
{
	if (!a)
		return NULL;
	EVP_PKEY_free(a->key);
	X509_free(a->certificate);
	X509_STORE_free(a->store);
	free(a->pem);
	free(a);
	return NULL;
}

const char *authority_pem(const struct authority *a)
{
	return a->pem;
}

void authority_certificate_done(struct authority_certificate *c)
{
	free(c->pem);
	*c = (struct authority_certificate){0};
}

/* The last thing that libcrypto has complained about. */
static int fail_crypto(struct error *err, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return fail(err, -EIO, "%s: %s", what, reason ? reason : "libcrypto does not say why");
}

/* Writes the object as PEM by `write`. For free(), or NULL. */
static char *to_pem(int (*write)(BIO *bio, const void *object), const void *object)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data = NULL, *text = NULL;
	long length;

	if (bio && write(bio, object) == 1) {
		length = BIO_get_mem_data(bio, &data);
		text = strndup(data, (size_t)length);
	}
	BIO_free(bio);
	return text;
}

static int write_certificate(BIO *bio, const void *object)
{
	return PEM_write_bio_X509(bio, (X509 *)(uintptr_t)object);
}

static int write_key(BIO *bio, const void *object)
{
	return PEM_write_bio_PrivateKey(
		bio, (EVP_PKEY *)(uintptr_t)object, NULL, NULL, 0, NULL, NULL);
}

static void serial_format(const X509 *x, char ret[AUTHORITY_SERIAL_SIZE])
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *hex = number ? BN_bn2hex(number) : NULL;

	snprintf(ret, AUTHORITY_SERIAL_SIZE, "%s", hex ? hex : "");
	for (char *c = ret; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	OPENSSL_free(hex);
	BN_free(number);
}

/* Random, so that none tells anything, and none is given twice: a positive number of full length.
 */
static bool set_serial(X509 *x)
{
	uint8_t bytes[SERIAL_BYTES];
	BIGNUM *number;
	bool ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (bytes[0] & 0x7f) | 0x40;
	number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));
	BN_free(number);
	return ok;
}

static bool set_times(X509 *x, uint64_t now_us, long lifetime_s)
{
	time_t now = (time_t)(now_us / SECOND);

	return ASN1_TIME_set(X509_getm_notBefore(x), now - AUTHORITY_SKEW_S) &&
	       ASN1_TIME_set(X509_getm_notAfter(x), now + lifetime_s);
}

static bool set_name(X509 *x, const char *name)
{
	return X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
		       (const unsigned char *)name, -1, -1, 0) == 1;
}

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;
	bool ok;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ok = extension && X509_add_ext(x, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

/* What all certificates have. */
static X509 *begin_certificate(const char *name, EVP_PKEY *key, uint64_t now_us, long lifetime_s)
{
	X509 *x AUTO(x509_freep) = X509_new();

	if (!x || X509_set_version(x, X509_VERSION_3) != 1 || !set_serial(x) ||
		!set_times(x, now_us, lifetime_s) || !set_name(x, name) ||
		X509_set_pubkey(x, key) != 1)
		return NULL;
	return TAKE_PTR(x);
}

static X509 *make_ca(EVP_PKEY *key, uint64_t now_us)
{
	char name[64];
	uint32_t number = 0;
	X509 *x AUTO(x509_freep) = NULL;

	/* A site that is set up anew is another one, also by its name. */
	if (RAND_bytes((void *)&number, sizeof(number)) != 1)
		return NULL;
	snprintf(name, sizeof(name), "WNoDeS site %08x", number);
	x = begin_certificate(name, key, now_us, CA_LIFETIME_S);
	if (!x || X509_set_issuer_name(x, X509_get_subject_name(x)) != 1 ||
		!add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
		!add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
		!add_extension(x, x, NID_subject_key_identifier, "hash") ||
		X509_sign(x, key, EVP_sha256()) == 0)
		return NULL;
	return TAKE_PTR(x);
}

static int finish(const struct authority *a, X509 *x, uint64_t now_us,
	struct authority_certificate *ret, struct error *err)
{
	if (X509_set_issuer_name(x, X509_get_subject_name(a->certificate)) != 1 ||
		!add_extension(x, a->certificate, NID_subject_key_identifier, "hash") ||
		!add_extension(x, a->certificate, NID_authority_key_identifier, "keyid:always") ||
		X509_sign(x, a->key, EVP_sha256()) == 0)
		return fail_crypto(err, "cannot sign a certificate");
	*ret = (struct authority_certificate){.pem = to_pem(write_certificate, x),
		.not_after_us = (now_us / SECOND + AUTHORITY_LIFETIME_S) * SECOND};
	serial_format(x, ret->serial);
	return ret->pem ? 0 : fail(err, -ENOMEM, "out of memory");
}

int authority_check_name(const char *name, struct error *err)
{
	size_t n = strlen(name);

	if (n == 0 || n >= AUTHORITY_NAME_MAX || !isalnum((unsigned char)name[0]))
		return fail(err, -EINVAL,
			"a node's name has 1 to %d characters, a letter or a "
			"digit first",
			AUTHORITY_NAME_MAX - 1);
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			return fail(err, -EINVAL,
				"'%s' is no node's name; one is made of letters, digits, '.', '_' "
				"and '-'",
				name);
	return 0;
}

int authority_issue_node(const struct authority *a, const char *node, EVP_PKEY *key,
	uint64_t now_us, struct authority_certificate *ret, struct error *err)
{
	X509 *x AUTO(x509_freep) = NULL;
	bool rsa = EVP_PKEY_is_a(key, "RSA");

	*ret = (struct authority_certificate){0};
	if (authority_check_name(node, err) < 0)
		return -EINVAL;
	x = begin_certificate(node, key, now_us, AUTHORITY_LIFETIME_S);
	if (!x || !add_extension(x, a->certificate, NID_basic_constraints, "critical,CA:FALSE") ||
		!add_extension(
			x, a->certificate, NID_key_usage, rsa ? USAGE_NODE_RSA : USAGE_NODE) ||
		!add_extension(x, a->certificate, NID_ext_key_usage, "clientAuth"))
		return fail_crypto(err, "cannot make a certificate");
	return finish(a, x, now_us, ret, err);
}

/* "DNS:c1.example,IP:192.0.2.1"; for free(). */
static char *format_names(const char *const *names, struct error *err)
{
	autofree char *text = strdup("");

	for (; text && *names; names++) {
		uint8_t address[16];
		bool ip = inet_pton(AF_INET, *names, address) == 1 ||
			  inet_pton(AF_INET6, *names, address) == 1;
		char *longer;

		/* What is added is the value of a small language. */
		if (!ip && (!**names || (*names)[strspn(*names, "abcdefghijklmnopqrstuvwxyz"
								"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
								"0123456789.-*_")])) {
			fail(err, -EINVAL, "'%s' is neither a host's name nor an address", *names);
			return NULL;
		}
		if (asprintf(&longer, "%s%s%s:%s", text, *text ? "," : "", ip ? "IP" : "DNS",
			    *names) < 0)
			longer = NULL;
		free(text);
		text = longer;
	}
	if (!text)
		fail(err, -ENOMEM, "out of memory");
	return TAKE_PTR(text);
}

int authority_issue_server(const struct authority *a, const char *const *names, uint64_t now_us,
	struct authority_certificate *ret, char **ret_key, struct error *err)
{
	EVP_PKEY *key AUTO(key_freep) = EVP_EC_gen("P-256");
	autofree char *text = NULL, *key_pem = NULL;
	struct error own = {0};
	X509 *x AUTO(x509_freep) = NULL;
	int r;

	*ret = (struct authority_certificate){0};
	text = format_names(names, &own);
	if (!text)
		return fail(err, own.code, "%s", own.text);
	x = key ? begin_certificate("wnodes-controller", key, now_us, AUTHORITY_LIFETIME_S) : NULL;
	if (!x || !add_extension(x, a->certificate, NID_basic_constraints, "critical,CA:FALSE") ||
		!add_extension(x, a->certificate, NID_key_usage, USAGE_NODE) ||
		!add_extension(x, a->certificate, NID_ext_key_usage, "serverAuth") ||
		!add_extension(x, a->certificate, NID_subject_alt_name, text))
		return fail_crypto(err, "cannot make the controller's certificate");
	key_pem = to_pem(write_key, key);
	r = key_pem ? finish(a, x, now_us, ret, err) : fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		*ret_key = TAKE_PTR(key_pem);
	return r;
}

static void *from_pem(void *(*read)(BIO *bio), const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	void *object = bio ? read(bio) : NULL;

	BIO_free(bio);
	return object;
}

static void *read_certificate(BIO *bio)
{
	return PEM_read_bio_X509(bio, NULL, NULL, (void *)(uintptr_t) "");
}

static void *read_key(BIO *bio)
{
	return PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "");
}

static int authority_new(
	const char *certificate, const char *key, struct authority **ret, struct error *err)
{
	struct authority *a AUTO(authority_freep) = calloc(1, sizeof(*a));

	if (!a)
		return fail(err, -ENOMEM, "out of memory");
	a->pem = strdup(certificate);
	a->certificate = from_pem(read_certificate, certificate);
	a->key = from_pem(read_key, key);
	a->store = X509_STORE_new();
	/* With -1, OpenSSL reads the extensions and keeps them: later, threads would do so at once.
	 */
	if (!a->certificate || !a->key || X509_check_purpose(a->certificate, -1, 0) != 1 ||
		X509_check_private_key(a->certificate, a->key) != 1) {
		ERR_clear_error();
		return fail(err, -EBADMSG,
			"the site's authority in the database cannot be read: the rows '" ROW_KEY
			"' and '" ROW_CERTIFICATE
			"' of the table 'site' are damaged; restore them");
	}
	if (!a->pem || !a->store || X509_STORE_add_cert(a->store, a->certificate) != 1)
		return fail(err, -ENOMEM, "out of memory");
	*ret = TAKE_PTR(a);
	return 0;
}

/* *ret is NULL where there is no such row. */
static int load_row(struct sql *db, const char *name, char **ret, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(
		db, err, &rows, "SELECT value FROM site WHERE name = ?1", sql_text(name));

	*ret = NULL;
	if (r == 0)
		r = sql_rows_next(rows, err);
	if (r <= 0)
		return r;
	*ret = strdup(sql_rows_text(rows, 0));
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}

int authority_load(struct sql *db, struct authority **ret, struct error *err)
{
	autofree char *certificate = NULL, *key = NULL;
	int r = load_row(db, ROW_CERTIFICATE, &certificate, err);

	*ret = NULL;
	if (r == 0)
		r = load_row(db, ROW_KEY, &key, err);
	if (r == 0 && !certificate && !key)
		return fail(err, -ENOENT, "the site has no authority yet");
	if (r == 0)
		r = authority_new(certificate ? certificate : "", key ? key : "", ret, err);
	if (key)
		explicit_bzero(key, strlen(key));
	return r;
}

static int save_row(struct sql *db, const char *name, const char *value, struct error *err)
{
	int r = sql_change(db, err, "INSERT INTO site (name, value) VALUES (?1, ?2)",
		sql_text(name), sql_text(value));

	return MIN_OF(r, 0);
}

int authority_make(struct sql *db, uint64_t now_us, struct authority **ret, struct error *err)
{
	EVP_PKEY *key AUTO(key_freep) = NULL;
	X509 *x AUTO(x509_freep) = NULL;
	autofree char *certificate_pem = NULL, *key_pem = NULL;
	int r = authority_load(db, ret, err);

	if (r != -ENOENT)
		return r;
	key = EVP_EC_gen("P-256");
	x = key ? make_ca(key, now_us) : NULL;
	if (!x)
		return fail_crypto(err, "cannot make the site's authority");
	certificate_pem = to_pem(write_certificate, x);
	key_pem = to_pem(write_key, key);
	if (!certificate_pem || !key_pem)
		return fail(err, -ENOMEM, "out of memory");
	r = save_row(db, ROW_CERTIFICATE, certificate_pem, err);
	if (r == 0)
		r = save_row(db, ROW_KEY, key_pem, err);
	if (r == 0)
		r = authority_new(certificate_pem, key_pem, ret, err);
	explicit_bzero(key_pem, strlen(key_pem));
	return r;
}

int authority_open(struct sql *db, uint64_t now_us, struct authority **ret, struct error *err)
{
	int r = authority_load(db, ret, err);

	if (r != -ENOENT)
		return r;
	r = sql_begin(db, err);
	if (r < 0)
		return r;
	r = authority_make(db, now_us, ret, err);
	if (r == 0)
		r = sql_commit(db, err);
	else
		sql_rollback(db);
	if (r < 0)
		*ret = authority_free(*ret);
	return r;
}

static int verify(const struct authority *a, X509 *x, uint64_t now_us, struct error *err)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int r = 0;

	if (!context || X509_STORE_CTX_init(context, a->store, x, NULL) != 1) {
		X509_STORE_CTX_free(context);
		return fail(err, -ENOMEM, "out of memory");
	}
	X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT);
	X509_STORE_CTX_set_time(context, 0, (time_t)(now_us / SECOND));
	if (X509_verify_cert(context) != 1)
		r = fail(err, -EKEYREJECTED, "%s",
			X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
	X509_STORE_CTX_free(context);
	ERR_clear_error();
	return r;
}

static uint64_t time_to_us(const ASN1_TIME *t)
{
	struct tm parts;
	time_t s = ASN1_TIME_to_tm(t, &parts) == 1 ? timegm(&parts) : 0;

	return s > 0 ? (uint64_t)s * SECOND : 0;
}

int authority_check(const struct authority *a, const void *der, size_t length, uint64_t now_us,
	struct authority_subject *ret, struct error *err)
{
	const unsigned char *data = der;
	X509 *x AUTO(x509_freep) = length < 65536 ? d2i_X509(NULL, &data, (long)length) : NULL;
	int n, r;

	*ret = (struct authority_subject){0};
	if (!x) {
		ERR_clear_error();
		return fail(err, -EKEYREJECTED, "it cannot be read");
	}
	r = verify(a, x, now_us, err);
	if (r < 0)
		return r;
	n = X509_NAME_get_text_by_NID(
		X509_get_subject_name(x), NID_commonName, ret->node, sizeof(ret->node));
	if (n <= 0 || strlen(ret->node) != (size_t)n || authority_check_name(ret->node, NULL) < 0)
		return fail(err, -EKEYREJECTED, "it names no node");
	serial_format(x, ret->serial);
	ret->not_after_us = time_to_us(X509_get0_notAfter(x));
	return 0;
}
