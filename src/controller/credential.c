#include "controller/credential.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "controller/authority.h"
#include "lib/file.h"
#include "lib/path.h"
#include "lib/strv.h"

#define PEM_MAX  (256 * 1024)
#define RENEW_S  (AUTHORITY_LIFETIME_S / 3) /* before its end */
#define HOST_MAX 256

#define FILE_CERTIFICATE "controller.pem"
#define FILE_KEY         "controller.key"
#define FILE_CA          "ca.pem"

void credential_done(struct credential *c)
{
	if (c->key)
		explicit_bzero(c->key, strlen(c->key));
	free(c->certificate);
	free(c->key);
	free(c->ca);
	*c = (struct credential){0};
}

bool credential_equals(const struct credential *a, const struct credential *b)
{
	return a->certificate && b->certificate && streq(a->certificate, b->certificate) &&
	       streq(a->key, b->key) && streq(a->ca, b->ca);
}

static bool is_name(const char *text)
{
	return text[0] && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					     "0123456789.-")];
}

/* The whole of the host's name, by which others are likely to call it. */
static void add_whole_name(const char *host, struct strv *ret)
{
	const struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	const char *whole;

	if (strchr(host, '.') || getaddrinfo(host, NULL, &hints, &list) != 0)
		return;
	whole = list->ai_canonname;
	if (whole && strchr(whole, '.') && is_name(whole) && whole[strlen(whole) - 1] != '.')
		strv_add(ret, whole);
	freeaddrinfo(list);
}

/* The given names, and what the machine calls itself. */
static void find_names(const struct controller_settings *settings, struct strv *ret)
{
	char host[HOST_MAX] = "";

	for (char **name = settings->names; name && *name; name++)
		strv_add(ret, *name);
	if (gethostname(host, sizeof(host) - 1) == 0 && is_name(host)) {
		strv_add(ret, host);
		add_whole_name(host, ret);
	}
	strv_add_all(ret, "localhost", "127.0.0.1", "::1", NULL);
}

static char *read_file(const char *directory, const char *name)
{
	autofree char *path = path_format("%s/%s", directory, name);
	char *text = NULL;
	size_t length;

	return path && file_read(AT_FDCWD, path, PEM_MAX, &text, &length) == 0 ? text : NULL;
}

static int write_file(
	const char *directory, const char *name, const char *text, mode_t mode, struct error *err)
{
	autofree char *path = path_format("%s/%s", directory, name);
	int r = path ? file_replace(AT_FDCWD, path, text, strlen(text), mode) : -ENOMEM;

	return r < 0 ? fail_errno(err, r, "cannot write %s/%s", directory, name) : 0;
}

static X509 *parse(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, (void *)(uintptr_t) "") : NULL;

	BIO_free(bio);
	ERR_clear_error();
	return x;
}

static bool key_fits(const X509 *x, const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key =
		bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t) "") : NULL;
	bool fits = key && X509_check_private_key(x, key) == 1;

	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return fits;
}

static bool has_names(X509 *x, const struct strv *names)
{
	for (size_t i = 0; i < names->count; i++)
		if (X509_check_ip_asc(x, names->items[i], 0) != 1 &&
			X509_check_host(x, names->items[i], 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
				NULL) != 1)
			return false;
	return true;
}

/* Is it the authority's, of these names, and valid for so much longer? */
static bool serves(
	const struct credential *c, const struct strv *names, uint64_t now_us, long spare_s)
{
	X509 *x = c->certificate ? parse(c->certificate) : NULL;
	X509 *ca = c->ca ? parse(c->ca) : NULL;
	time_t now = (time_t)(now_us / 1000000), then = now + spare_s;
	bool good = x && ca && c->key && X509_verify(x, X509_get0_pubkey(ca)) == 1 &&
		    X509_cmp_time(X509_get0_notAfter(x), &then) > 0 &&
		    X509_cmp_time(X509_get0_notBefore(x), &now) < 0 && has_names(x, names) &&
		    key_fits(x, c->key);

	X509_free(x);
	X509_free(ca);
	ERR_clear_error();
	return good;
}

static void load_state(const char *directory, struct credential *ret)
{
	ret->certificate = read_file(directory, FILE_CERTIFICATE);
	ret->key = read_file(directory, FILE_KEY);
	ret->ca = read_file(directory, FILE_CA);
}

/* The key first: a certificate without its key is seen and made anew. */
static int save_state(const char *directory, const struct credential *c, struct error *err)
{
	int r = write_file(directory, FILE_KEY, c->key, 0600, err);

	if (r == 0)
		r = write_file(directory, FILE_CERTIFICATE, c->certificate, 0600, err);
	return r < 0 ? r : write_file(directory, FILE_CA, c->ca, 0644, err);
}

static int make(const struct authority *authority, const struct strv *names, uint64_t now_us,
	struct credential *ret, struct error *err)
{
	struct authority_certificate made AUTO(authority_certificate_done) = {0};
	int r = authority_issue_server(authority, strv_list(names), now_us, &made, &ret->key, err);

	if (r < 0)
		return r;
	ret->certificate = TAKE_PTR(made.pem);
	ret->ca = strdup(authority_pem(authority));
	return ret->ca ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int load_made(const struct controller_settings *settings, const struct authority *authority,
	uint64_t now_us, struct credential *ret, struct error *err)
{
	struct strv names AUTO(strv_done) = {0};
	bool ours;
	int r;

	find_names(settings, &names);
	if (names.failed)
		return fail(err, -ENOMEM, "out of memory");
	load_state(settings->state, ret);
	ours = !authority || (ret->ca && streq(ret->ca, authority_pem(authority)));
	if (ours && serves(ret, &names, now_us, authority ? RENEW_S : 0))
		return 0;
	if (!authority)
		return fail(err, -EAGAIN,
			"the controller's certificate has to be made, for which the database is "
			"needed, which is not reached");
	credential_done(ret);
	r = make(authority, &names, now_us, ret, err);
	return r < 0 ? r : save_state(settings->state, ret, err);
}

static int load_given(const struct controller_settings *settings, const struct authority *authority,
	struct credential *ret, struct error *err)
{
	size_t length;
	int r = file_read(AT_FDCWD, settings->certificate, PEM_MAX, &ret->certificate, &length);

	if (r < 0)
		return fail_errno(err, r, "cannot read the certificate %s", settings->certificate);
	r = file_read(AT_FDCWD, settings->key, PEM_MAX, &ret->key, &length);
	if (r < 0)
		return fail_errno(err, r, "cannot read the key %s", settings->key);
	ret->ca =
		authority ? strdup(authority_pem(authority)) : read_file(settings->state, FILE_CA);
	if (!ret->ca)
		return fail(err, authority ? -ENOMEM : -EAGAIN,
			"the site's authority is in the database, which is not reached");
	return authority ? write_file(settings->state, FILE_CA, ret->ca, 0644, err) : 0;
}

int credential_load(const struct controller_settings *settings, struct sql *db, uint64_t now_us,
	struct credential *ret, struct error *err)
{
	struct authority *authority AUTO(authority_freep) = NULL;
	int r = db ? authority_open(db, now_us, &authority, err) : 0;

	*ret = (struct credential){0};
	if (r < 0)
		return r;
	r = settings->certificate ? load_given(settings, authority, ret, err)
				  : load_made(settings, authority, now_us, ret, err);
	if (r < 0)
		credential_done(ret);
	return r;
}
