/* What a caller shows to a controller: headers, requests for certificates, certificates, tokens. */
#include <assert.h>
#include <stdio.h>

#include "controller/authority.h"
#include "controller/authorization.h"
#include "controller/csr.h"
#include "controller/rights.h"
#include "controller/schema.h"
#include "controller/token.h"

#define NOW_US UINT64_C(1795800000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One authority for all runs. */
static const struct authority *get_authority(void)
{
	static struct authority *authority;
	char directory[] = "/tmp/fuzz-identity.XXXXXX", path[64], url[64];
	struct error err = {0};
	struct sql *db = NULL;

	if (authority)
		return authority;
	assert(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/db", directory);
	snprintf(url, sizeof(url), "sqlite:%s", path);
	assert(sql_open(url, &db, &err) == 0 && schema_upgrade(db, &err) == 0);
	assert(authority_open(db, NOW_US, &authority, &err) == 0);
	sql_free(db);
	unlink(path);
	rmdir(directory);
	return authority;
}

static void check_csr(const char *text)
{
	struct authority_certificate made AUTO(authority_certificate_done) = {0};
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};
	EVP_PKEY *key = NULL;

	if (csr_parse(text, &key, digest, &err) < 0) {
		assert(!key && err.text[0]);
		return;
	}
	assert(digest_is_hex(digest));
	assert(authority_issue_node(get_authority(), "n1", key, NOW_US, &made, &err) == 0);
	EVP_PKEY_free(key);
}

static void check_header(const char *text)
{
	struct authorization a;
	struct error err = {0};

	if (authorization_parse(text, &a, &err) < 0) {
		assert(err.text[0]);
		return;
	}
	assert(a.value[0] && strlen(a.value) < AUTHORIZATION_MAX && !strchr(a.value, ' '));
	if (token_is_secret(a.value, TOKEN_BEARER))
		assert(strlen(a.value) < TOKEN_SECRET_SIZE &&
			!token_is_secret(a.value, TOKEN_JOIN));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autofree char *text = strndup((const char *)data, size);
	struct authority_subject subject;
	struct error err = {0};
	char words[RIGHTS_WORDS_MAX];

	check_csr(text);
	check_header(text);
	authorization_fits(data, size, "GET", text, data, size);
	if (authority_check(get_authority(), data, size, NOW_US, &subject, &err) == 0)
		assert(authority_check_name(subject.node, NULL) == 0);
	assert(rights_parse(rights_format(rights_parse(text), words)) == rights_parse(text));
	return 0;
}
