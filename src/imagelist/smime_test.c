/* With openssl(1) at the other end. Its authority is made by tests/imagelist/authority.sh, whose
 * path is the only argument. */
#include "imagelist/smime.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/child.h"
#include "lib/file.h"

#define CA    "/DC=org/DC=example/CN=Example CA"
#define ALICE "/DC=org/DC=example/CN=Alice Endorser"
#define TEXT  "{\n \"a\": 1\n}\n"

#define OPENSSL_SIGN "openssl smime -sign -in text -signer ca/alice.pem -inkey ca/alice.key "

static const char *authority;
static char directory[64];

static void shell(const char *command)
{
	const char *const argv[] = {"sh", "-c", command, authority, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	struct error err = {0};

	spec.argv = argv;
	if (child_run(&spec, 60000, &err) < 0)
		fail_msg("%s: %s", command, err.text);
}

static int setup(void **state)
{
	snprintf(directory, sizeof(directory), "/tmp/wnodes-smime.XXXXXX");
	if (!mkdtemp(directory) || chdir(directory) < 0)
		return -1;
	shell("$0 ca init '" CA "' && $0 ca issue alice '" ALICE "' && $0 ca crl");
	shell("$0 other init '/CN=Other CA' && $0 other issue alice '" ALICE "' && $0 other crl");
	return file_replace(AT_FDCWD, "text", TEXT, strlen(TEXT), 0600);
}

static int teardown(void **state)
{
	return chdir("/") < 0 ? -1 : file_remove_tree(AT_FDCWD, directory);
}

static int verify_by(const char *ca, bool crl, const char *path, char **ret,
	struct smime_signer *signer, struct error *err)
{
	struct smime_trust trust = {.ca = ca, .crl = crl};
	autofree char *message = NULL;
	size_t length, text_length;
	int r;

	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &message, &length), 0);
	r = smime_verify(message, length, &trust, ret, &text_length, signer, err);
	if (r == 0)
		assert_int_equal(strlen(*ret), text_length);
	return r;
}

static int verify(const char *path, char **ret, struct smime_signer *signer, struct error *err)
{
	return verify_by("ca/trust", true, path, ret, signer, err);
}

/* The text's lines end with CR LF in a message. */
static void assert_verified(const char *path)
{
	struct smime_signer signer AUTO(smime_signer_done) = {0};
	autofree char *text = NULL;
	struct error err = {0};

	if (verify(path, &text, &signer, &err) < 0)
		fail_msg("%s: %s", path, err.text);
	assert_string_equal(text, "{\r\n \"a\": 1\r\n}\r\n");
	assert_string_equal(signer.subject, ALICE);
	assert_string_equal(signer.issuer, CA);
}

static void assert_refused_by(const char *ca, bool crl, const char *path, int code, const char *why)
{
	struct smime_signer signer AUTO(smime_signer_done) = {0};
	autofree char *text = NULL;
	struct error err = {0};

	assert_int_equal(verify_by(ca, crl, path, &text, &signer, &err), code);
	assert_null(text);
	assert_null(signer.subject);
	if (!strstr(err.text, why))
		fail_msg("%s: '%s' does not say '%s'", path, err.text, why);
}

static void assert_refused(const char *path, const char *why)
{
	assert_refused_by("ca/trust", true, path, -EBADMSG, why);
}

static void what_openssl_signs_is_verified(void **state)
{
	shell(OPENSSL_SIGN "-text -md sha256 -out 1");
	assert_verified("1");
	shell(OPENSSL_SIGN "-out 2");
	assert_verified("2");
	shell(OPENSSL_SIGN "-text -nodetach -out 3");
	assert_verified("3");
	shell("openssl cms -sign -in text -signer ca/alice.pem -inkey ca/alice.key -text -out 4");
	assert_verified("4");
	/* Lines that end as on other systems are the same lines. */
	shell("sed 's/$/\\r/' 1 >5");
	assert_verified("5");
}

static void openssl_verifies_what_is_signed(void **state)
{
	struct smime_identity *alice AUTO(smime_identity_freep) = NULL;
	struct buffer message AUTO(buffer_done) = {0};
	struct error err = {0};

	if (smime_identity_open("ca/alice.pem", "ca/alice.key", &alice, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(smime_identity_names(alice)->subject, ALICE);
	assert_string_equal(smime_identity_common_name(alice), "Alice Endorser");
	assert_string_equal(smime_identity_email(alice), "endorser@example.org");
	assert_int_equal(smime_sign(alice, TEXT, strlen(TEXT), &message, NULL), 0);
	assert_int_equal(
		file_replace(AT_FDCWD, "ours", buffer_head(&message), message.len, 0600), 0);
	assert_verified("ours");
	shell("openssl smime -verify -in ours -CApath ca/trust -crl_check_all -purpose any -text "
	      "-out got && tr -d '\\r' <got | cmp - text");
	shell("grep -q '\"a\": 1' ours && grep -q multipart/signed ours");
}

static void what_was_changed_is_refused(void **state)
{
	shell(OPENSSL_SIGN "-text -out good && sed 's/\"a\": 1/\"a\": 2/' good >bad");
	assert_refused("bad", "verify error");
	shell("sed '/^{/,/^}/d' good >bad");
	assert_refused("bad", "");
	shell("head -c 700 good >bad");
	assert_refused("bad", "no signed S/MIME message");
	shell("cp text bad");
	assert_refused("bad", "no signed S/MIME message");
	shell(": >bad");
	assert_refused("bad", "no signed S/MIME message");
}

static void only_those_are_believed_that_an_authority_vouches_for(void **state)
{
	shell("openssl smime -sign -in text -signer other/alice.pem -inkey other/alice.key "
	      "-out other.smime");
	assert_refused("other.smime", "unable to get local issuer certificate");
	shell(OPENSSL_SIGN "-nocerts -out none");
	assert_refused("none", "signer certificate not found");
	assert_refused_by("/no/such", true, "none", -ENOENT, "/no/such");
	assert_refused_by("text", true, "none", -EIO, "'text'");
}

static void revoked_certificates_are_told_apart(void **state)
{
	shell("$0 ca issue eve '/CN=Eve' && "
	      "openssl smime -sign -in text -signer ca/eve.pem -inkey ca/eve.key -out eve");
	shell("$0 ca revoke eve && $0 ca crl");
	assert_refused_by("ca/trust", true, "eve", -EKEYREVOKED, "certificate revoked");
	/* A file has certificates and lists of revoked ones in any order. */
	shell("cat ca/crl.pem ca/ca.pem >bundle");
	assert_refused_by("bundle", true, "eve", -EKEYREVOKED, "certificate revoked");
}

static void lists_of_revoked_certificates_must_be_there(void **state)
{
	struct smime_signer signer AUTO(smime_signer_done) = {0};
	autofree char *text = NULL;

	shell(OPENSSL_SIGN "-out signed");
	assert_refused_by("ca/ca.pem", true, "signed", -EBADMSG, "unable to get certificate CRL");
	assert_int_equal(verify_by("ca/ca.pem", false, "signed", &text, &signer, NULL), 0);
}

static void weak_and_many_signatures_are_refused(void **state)
{
	shell(OPENSSL_SIGN "-md sha1 -out weak");
	assert_refused("weak", "sha1");
	shell("$0 ca issue bob '/CN=Bob' && " OPENSSL_SIGN
	      "-signer ca/bob.pem -inkey ca/bob.key -out two");
	assert_refused("two", "2 signatures");
}

static void names_that_look_like_several_are_refused(void **state)
{
	shell("$0 ca issue mallory '/DC=org/DC=example\\/CN=Alice Endorser/CN=x' && openssl smime -sign "
	      "-in text -signer ca/mallory.pem -inkey ca/mallory.key -out mallory");
	assert_refused("mallory", "looks like several");
}

static void certificates_are_valid_for_a_time(void **state)
{
	struct smime_trust trust = {.ca = "ca/trust", .now_us = UINT64_C(946684800000000)};
	struct smime_signer signer AUTO(smime_signer_done) = {0};
	autofree char *message = NULL, *text = NULL;
	size_t length, text_length;

	shell(OPENSSL_SIGN "-out signed");
	assert_int_equal(file_read(AT_FDCWD, "signed", 1 << 20, &message, &length), 0);
	assert_int_equal(smime_verify(message, length, &trust, &text, &text_length, &signer, NULL),
		-EBADMSG);
	trust.now_us = 0;
	assert_int_equal(
		smime_verify(message, length, &trust, &text, &text_length, &signer, NULL), 0);
}

static void a_key_must_be_the_certificates(void **state)
{
	struct smime_identity *identity AUTO(smime_identity_freep) = NULL;
	struct smime_signer names AUTO(smime_signer_done) = {0};
	struct error err = {0};

	assert_int_equal(
		smime_identity_open("ca/alice.pem", "other/alice.key", &identity, &err), -EINVAL);
	assert_non_null(strstr(err.text, "not that of the certificate"));
	assert_int_equal(smime_identity_open("text", "text", &identity, &err), -EINVAL);
	assert_int_equal(smime_identity_open("/no/such", "text", &identity, &err), -ENOENT);
	assert_null(identity);
	assert_int_equal(smime_read_names("ca/alice.pem", &names, NULL), 0);
	assert_string_equal(names.subject, ALICE);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_openssl_signs_is_verified),
		cmocka_unit_test(openssl_verifies_what_is_signed),
		cmocka_unit_test(what_was_changed_is_refused),
		cmocka_unit_test(only_those_are_believed_that_an_authority_vouches_for),
		cmocka_unit_test(revoked_certificates_are_told_apart),
		cmocka_unit_test(lists_of_revoked_certificates_must_be_there),
		cmocka_unit_test(weak_and_many_signatures_are_refused),
		cmocka_unit_test(names_that_look_like_several_are_refused),
		cmocka_unit_test(certificates_are_valid_for_a_time),
		cmocka_unit_test(a_key_must_be_the_certificates),
	};

	if (argc != 2)
		return 77;
	authority = argv[1];
	return cmocka_run_group_tests(tests, setup, teardown);
}
