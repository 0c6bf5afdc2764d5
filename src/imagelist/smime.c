#include "imagelist/smime.h"

#include <errno.h>
#include <sys/stat.h>

#include "imagelist/smime_private.h"

/* 112 bits: RSA keys of 2048 bits, no SHA-1 in certificates. */
#define SECURITY_LEVEL 2

#define SECOND_US UINT64_C(1000000)

static int add_directory(X509_STORE *store, const char *path, struct error *err)
{
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());

	if (!lookup || X509_LOOKUP_add_dir(lookup, path, X509_FILETYPE_PEM) != 1)
		return smime_fail(err, -EIO, "cannot use the directory of certificates");
	return 0;
}

static int add_file(X509_STORE *store, const char *path, struct error *err)
{
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

	ERR_clear_error();
	if (lookup && X509_load_cert_crl_file(lookup, path, X509_FILETYPE_PEM) > 0)
		return 0;
	smime_fail(err, -EIO, "it has no certificate");
	return fail_within(err, "cannot read certificates of '%s'", path);
}

static int open_trust(const struct smime_trust *trust, X509_STORE **ret, struct error *err)
{
	X509_STORE *store AUTO(x509_store_freep) = X509_STORE_new();
	X509_VERIFY_PARAM *param = store ? X509_STORE_get0_param(store) : NULL;
	struct stat st;
	int r;

	if (!store)
		return fail(err, -ENOMEM, "out of memory");
	if (stat(trust->ca, &st) < 0)
		return fail_errno(err, -errno, "cannot read certificates of '%s'", trust->ca);
	r = S_ISDIR(st.st_mode) ? add_directory(store, trust->ca, err)
				: add_file(store, trust->ca, err);
	if (r < 0)
		return r;
	if (trust->crl)
		X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	if (trust->now_us > 0)
		X509_VERIFY_PARAM_set_time(param, (time_t)(trust->now_us / SECOND_US));
	X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
	/* Grid certificates need not be for email. */
	X509_STORE_set_purpose(store, X509_PURPOSE_ANY);
	*ret = TAKE_PTR(store);
	return 0;
}

/* One signature, and not by a digest for which others can be made that fit. */
static int check_signature_form(CMS_ContentInfo *cms, struct error *err)
{
	STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(cms);
	const ASN1_OBJECT *digest;
	X509_ALGOR *algorithm = NULL;
	int nid;

	if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed || !signers)
		return fail(err, -EBADMSG, "it is not signed");
	if (sk_CMS_SignerInfo_num(signers) != 1)
		return fail(err, -EBADMSG, "it has %d signatures instead of one",
			sk_CMS_SignerInfo_num(signers));
	CMS_SignerInfo_get0_algs(sk_CMS_SignerInfo_value(signers, 0), NULL, NULL, &algorithm, NULL);
	X509_ALGOR_get0(&digest, NULL, NULL, algorithm);
	nid = OBJ_obj2nid(digest);
	if (nid == NID_md4 || nid == NID_md5 || nid == NID_mdc2 || nid == NID_sha1 ||
		nid == NID_ripemd160)
		return fail(err, -EBADMSG, "it is signed with %s, which can be forged",
			OBJ_nid2ln(nid));
	return 0;
}

/* What CMS_verify() has found, in words; the reason of a chain is in the error's data. */
static int fail_verify(struct error *err)
{
	const char *data = NULL;
	int flags = 0;
	unsigned long last = ERR_peek_last_error_data(&data, &flags);
	const char *reason = last ? ERR_reason_error_string(last) : NULL;

	int r = -EBADMSG;

	if (!data || !(flags & ERR_TXT_STRING))
		data = "";
	if (strstr(data, X509_verify_cert_error_string(X509_V_ERR_CERT_REVOKED)))
		r = -EKEYREVOKED;
	fail(err, r, "%s%s%s", reason ? reason : "libcrypto does not say why", *data ? ": " : "",
		data);
	ERR_clear_error();
	return r;
}

static int get_signer(CMS_ContentInfo *cms, struct smime_signer *ret, struct error *err)
{
	STACK_OF(X509) *signers = CMS_get0_signers(cms);
	int r = sk_X509_num(signers) == 1
			? smime_names(sk_X509_value(signers, 0), ret, err)
			: fail(err, -EBADMSG, "it does not say who has signed it");

	sk_X509_free(signers);
	return r;
}

/* Where the MIME header ends that `openssl smime -sign -text` puts before a text: behind the first
 * empty line, unless the text begins at once, as without -text. */
static const char *skip_header(const char *text, size_t length)
{
	const char *end = text + length;

	if (length == 0 || text[0] == '{' || text[0] == '[')
		return text;
	for (const char *line = text; line < end;) {
		const char *eol = memchr(line, '\n', (size_t)(end - line));

		if (!eol)
			break;
		if (eol == line || (eol == line + 1 && line[0] == '\r'))
			return eol + 1;
		line = eol + 1;
	}
	return text;
}

static int take_text(BIO *bio, char **ret, size_t *ret_length, struct error *err)
{
	char *data = NULL;
	long n = BIO_get_mem_data(bio, &data);
	const char *text = skip_header(data ? data : "", n > 0 ? (size_t)n : 0);
	size_t length = n > 0 ? (size_t)(data + n - text) : 0;

	*ret = malloc(length + 1);
	if (!*ret)
		return fail(err, -ENOMEM, "out of memory");
	memcpy(*ret, text, length);
	(*ret)[length] = '\0';
	*ret_length = length;
	return 0;
}

static int verify(CMS_ContentInfo *cms, BIO *content, X509_STORE *store, char **ret,
	size_t *ret_length, struct smime_signer *ret_signer, struct error *err)
{
	BIO *out AUTO(bio_freep) = BIO_new(BIO_s_mem());
	struct smime_signer signer = {0};
	int r = out ? check_signature_form(cms, err) : fail(err, -ENOMEM, "out of memory");

	if (r == 0 && CMS_verify(cms, NULL, store, content, out, 0) != 1)
		r = fail_verify(err);
	if (r == 0)
		r = get_signer(cms, &signer, err);
	if (r == 0)
		r = take_text(out, ret, ret_length, err);
	if (r == 0)
		*ret_signer = signer;
	else
		smime_signer_done(&signer);
	return r;
}

int smime_verify(const void *message, size_t length, const struct smime_trust *trust, char **ret,
	size_t *ret_length, struct smime_signer *ret_signer, struct error *err)
{
	X509_STORE *store AUTO(x509_store_freep) = NULL;
	BIO *in AUTO(bio_freep) = NULL, *content AUTO(bio_freep) = NULL;
	CMS_ContentInfo *cms AUTO(cms_freep) = NULL;
	int r = open_trust(trust, &store, err);

	if (r < 0)
		return r;
	ERR_clear_error();
	in = BIO_new_mem_buf(message, (int)MIN_OF(length, (size_t)INT32_MAX));
	cms = in ? SMIME_read_CMS(in, &content) : NULL;
	if (!cms)
		return smime_fail(err, -EBADMSG, "it is no signed S/MIME message");
	return verify(cms, content, store, ret, ret_length, ret_signer, err);
}
