/* Names of certificates as one line, "/DC=org/DC=example/CN=Alice Endorser". */
#include <ctype.h>
#include <errno.h>

#include "imagelist/smime_private.h"

void smime_signer_done(struct smime_signer *signer)
{
	free(signer->subject);
	free(signer->issuer);
	*signer = (struct smime_signer){0};
}

int smime_fail(struct error *err, int code, const char *what)
{
	unsigned long last = ERR_peek_last_error();
	const char *reason = last ? ERR_reason_error_string(last) : NULL;

	ERR_clear_error();
	return fail(err, code, "%s: %s", what, reason ? reason : "libcrypto does not say why");
}

/* Could this value pass for further parts of a name, as "x/CN=Alice" does? */
static bool looks_like_parts(const ASN1_STRING *value)
{
	const unsigned char *data = ASN1_STRING_get0_data(value);
	int length = ASN1_STRING_length(value);

	for (int i = 0; i < length; i++) {
		int n = i + 1;

		while (data[i] == '/' && n < length && (isalnum(data[n]) || data[n] == '.'))
			n++;
		if (n > i + 1 && n < length && data[n] == '=')
			return true;
	}
	return false;
}

static int name_text(const X509_NAME *name, char **ret, struct error *err)
{
	char *text;

	for (int i = 0; i < X509_NAME_entry_count(name); i++)
		if (looks_like_parts(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i))))
			return fail(err, -EBADMSG,
				"the certificate's name has a part that looks like several, so that it"
				" could be taken for somebody else's");
	text = X509_NAME_oneline(name, NULL, 0);
	*ret = text ? strdup(text) : NULL;
	OPENSSL_free(text);
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}

int smime_names(X509 *certificate, struct smime_signer *ret, struct error *err)
{
	int r = name_text(X509_get_subject_name(certificate), &ret->subject, err);

	return r < 0 ? r : name_text(X509_get_issuer_name(certificate), &ret->issuer, err);
}

char *smime_subject_part(const X509 *certificate, int nid)
{
	const X509_NAME *name = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(name, nid, -1);
	unsigned char *utf8 = NULL;
	char *text = NULL;

	if (at >= 0 && ASN1_STRING_to_UTF8(
			       &utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at))) >= 0)
		text = strdup((const char *)utf8);
	OPENSSL_free(utf8);
	return text;
}
