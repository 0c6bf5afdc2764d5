#include "controller/authority.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "controller/credential.h"
#include "controller/csr.h"
#include "controller/fixture_test.h"
#include "lib/file.h"
#include "lib/path.h"

#include <cmocka.h>

#define NOW  FIXTURE_NOW_US
#define DAY  FIXTURE_DAY_US
#define HOUR (DAY / 24)

static struct sql *db;
static const char *directory;
static struct error err;

static int setup(void **state)
{
	err = (struct error){0};
	directory = fixture_open(&db);
	return 0;
}

static int teardown(void **state)
{
	fixture_close(db);
	return 0;
}

static struct authority *open_authority(void)
{
	struct authority *a = NULL;

	if (authority_open(db, NOW, &a, &err) < 0)
		fail_msg("%s", err.text);
	return a;
}

static EVP_PKEY *parse_csr(const char *text)
{
	EVP_PKEY *key = NULL;

	if (csr_parse(text, &key, NULL, &err) < 0)
		fail_msg("%s", err.text);
	return key;
}

/* A node's certificate, for authority_certificate_done(). */
static struct authority_certificate issue(const struct authority *a, const char *node)
{
	struct authority_certificate c = {0};
	EVP_PKEY *key = EVP_EC_gen("P-256"), *taken;
	autofree char *csr = fixture_csr("somebody", key);

	taken = parse_csr(csr);
	if (authority_issue_node(a, node, taken, NOW, &c, &err) < 0)
		fail_msg("%s", err.text);
	EVP_PKEY_free(taken);
	EVP_PKEY_free(key);
	return c;
}

static int check(
	const struct authority *a, const char *pem, uint64_t now_us, struct authority_subject *ret)
{
	size_t length;
	autofree unsigned char *der = fixture_der(pem, &length);

	return authority_check(a, der, length, now_us, ret, &err);
}

static void the_first_who_comes_makes_the_authority(void **state)
{
	struct authority *first AUTO(authority_freep) = open_authority();
	struct authority *second AUTO(authority_freep) = open_authority();
	struct authority *third AUTO(authority_freep) = NULL;

	assert_string_equal(authority_pem(first), authority_pem(second));
	assert_int_equal(sql_begin(db, &err), 0);
	assert_int_equal(authority_make(db, NOW, &third, &err), 0);
	assert_int_equal(sql_commit(db, &err), 0);
	assert_string_equal(authority_pem(first), authority_pem(third));
}

static void one_that_is_damaged_is_not_made_anew(void **state)
{
	struct authority *b AUTO(authority_freep) = NULL;

	authority_free(open_authority());
	sql_change(db, NULL, "UPDATE site SET value = 'x' WHERE name = 'ca.key'");
	assert_int_equal(authority_open(db, NOW, &b, &err), -EBADMSG);
	sql_change(db, NULL, "DELETE FROM site WHERE name = 'ca.key'");
	assert_int_equal(authority_open(db, NOW, &b, &err), -EBADMSG);
	assert_null(b);
}

static void a_node_is_who_we_say_it_is(void **state)
{
	struct authority *a AUTO(authority_freep) = open_authority();
	struct authority_certificate c AUTO(authority_certificate_done) = issue(a, "n1"),
				       d AUTO(authority_certificate_done) = issue(a, "n1");
	struct authority_subject subject;

	assert_int_equal(check(a, c.pem, NOW, &subject), 0);
	assert_string_equal(subject.node, "n1");
	assert_string_equal(subject.serial, c.serial);
	assert_int_equal(subject.not_after_us, c.not_after_us);
	assert_int_equal(strlen(c.serial), 32);
	assert_string_not_equal(c.serial, d.serial);
}

static void a_certificate_has_its_time(void **state)
{
	struct authority *a AUTO(authority_freep) = open_authority();
	struct authority_certificate c AUTO(authority_certificate_done) = issue(a, "n1");
	struct authority_subject subject;

	assert_int_equal(check(a, c.pem, NOW - 5 * HOUR, &subject), 0);
	assert_int_equal(check(a, c.pem, NOW + 29 * DAY, &subject), 0);
	assert_int_equal(check(a, c.pem, NOW + 31 * DAY, &subject), -EKEYREJECTED);
	assert_non_null(strstr(err.text, "expired"));
	assert_int_equal(check(a, c.pem, NOW - 7 * HOUR, &subject), -EKEYREJECTED);
}

static void strangers_are_not_nodes(void **state)
{
	struct authority *a AUTO(authority_freep) = open_authority();
	struct authority *other AUTO(authority_freep) = NULL;
	struct authority_certificate stranger AUTO(authority_certificate_done) = {0};
	struct authority_certificate server AUTO(authority_certificate_done) = {0};
	struct authority_subject subject;
	autofree char *key = NULL;
	const char *names[] = {"localhost", NULL};

	sql_change(db, NULL, "DELETE FROM site");
	other = open_authority();
	assert_string_not_equal(authority_pem(a), authority_pem(other));
	stranger = issue(other, "n1");
	assert_int_equal(check(a, stranger.pem, NOW, &subject), -EKEYREJECTED);
	assert_string_equal(subject.node, "");
	/* Nor is a controller, nor the authority itself. */
	assert_int_equal(authority_issue_server(a, names, NOW, &server, &key, &err), 0);
	assert_int_equal(check(a, server.pem, NOW, &subject), -EKEYREJECTED);
	assert_int_equal(check(a, authority_pem(a), NOW, &subject), -EKEYREJECTED);
	assert_int_equal(authority_check(a, "x", 1, NOW, &subject, &err), -EKEYREJECTED);
	assert_int_equal(authority_check(a, "", 0, NOW, &subject, &err), -EKEYREJECTED);
}

static void names_are_checked(void **state)
{
	static const char *const bad[] = {"", ".", "-a", "a/b", "a b", "a\nb", "\xc3\xa4",
		"a123456789012345678901234567890123456789012345678901234567890123X"};
	static const char *const bad_servers[] = {"", "a,DNS:b", "a b", "DNS:x", "[::1]"};
	struct authority *a AUTO(authority_freep) = open_authority();
	struct authority_certificate c = {0};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	autofree char *made = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(authority_check_name(bad[i], &err), -EINVAL);
		assert_int_equal(authority_issue_node(a, bad[i], key, NOW, &c, &err), -EINVAL);
	}
	assert_int_equal(authority_check_name("wn-1.example_x", &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_servers); i++) {
		const char *names[] = {bad_servers[i], NULL};

		assert_int_equal(authority_issue_server(a, names, NOW, &c, &made, &err), -EINVAL);
	}
	EVP_PKEY_free(key);
}

static EVP_PKEY *make_rsa(size_t bits)
{
	return EVP_RSA_gen(bits);
}

static void keys_are_of_known_kinds_and_sizes(void **state)
{
	static const struct {
		const char *group; /* of EC; NULL: RSA of `bits`, or Ed25519 for 0 */
		size_t bits;
		bool good;
	} rows[] = {
		{"P-256", 0, true},
		{"P-384", 0, true},
		{NULL, 0, true},
		{NULL, 2048, true},
		{"P-521", 0, false},
		{"secp256k1", 0, false},
		{"P-224", 0, false},
		{NULL, 1024, false},
	};
	struct authority *a AUTO(authority_freep) = open_authority();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		EVP_PKEY *key = rows[i].group  ? EVP_EC_gen(rows[i].group)
				: rows[i].bits ? make_rsa(rows[i].bits)
					       : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		autofree char *csr = fixture_csr("n1", key);
		struct authority_certificate c AUTO(authority_certificate_done) = {0};
		struct authority_subject subject;
		EVP_PKEY *taken = NULL;

		assert_int_equal(csr_parse(csr, &taken, NULL, &err), rows[i].good ? 0 : -EINVAL);
		if (rows[i].good) {
			assert_int_equal(authority_issue_node(a, "n1", taken, NOW, &c, &err), 0);
			assert_int_equal(check(a, c.pem, NOW, &subject), 0);
		} else {
			assert_null(taken);
			assert_non_null(strstr(err.text, "P-256"));
		}
		EVP_PKEY_free(taken);
		EVP_PKEY_free(key);
	}
}

static void a_request_is_signed_by_its_key(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *taken = NULL;
	autofree char *csr = fixture_csr("n1", key);
	char *middle = strstr(csr, "\n-----END") - 12;

	*middle = *middle == 'A' ? 'B' : 'A';
	assert_int_equal(csr_parse(csr, &taken, NULL, &err), -EINVAL);
	assert_null(taken);
	EVP_PKEY_free(key);
}

static void what_is_no_request_is_refused(void **state)
{
	static const char *const bad[] = {"", "x", "-----BEGIN CERTIFICATE REQUEST-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----\nProc-Type: 4,ENCRYPTED\n"
		"DEK-Info: AES-256-CBC,00000000000000000000000000000000\n\nAAAA\n"
		"-----END CERTIFICATE REQUEST-----\n",
		"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"};
	autofree char *longest = malloc(CSR_TEXT_MAX + 100);
	EVP_PKEY *key = EVP_EC_gen("P-256"), *taken = NULL;
	autofree char *csr = fixture_csr("n1", key);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(csr_parse(bad[i], &taken, NULL, &err), -EINVAL);
	snprintf(longest, CSR_TEXT_MAX + 100, "%s%*s", csr, CSR_TEXT_MAX, "");
	assert_int_equal(csr_parse(longest, &taken, NULL, &err), -EINVAL);
	EVP_PKEY_free(key);
}

static struct credential load(struct controller_settings *s, bool with_db, uint64_t now_us)
{
	struct credential c = {0};

	if (credential_load(s, with_db ? db : NULL, now_us, &c, &err) < 0)
		fail_msg("%s", err.text);
	return c;
}

static void a_controller_keeps_its_certificate_until_it_nears_its_end(void **state)
{
	char host[] = "c1.example", address[] = "192.0.2.7", *names[] = {host, address, NULL};
	struct controller_settings s = {.state = (char *)(uintptr_t)directory, .names = names};
	struct credential first AUTO(credential_done) = load(&s, true, NOW);
	struct credential again AUTO(credential_done) = load(&s, true, NOW + 19 * DAY);
	struct credential alone AUTO(credential_done) = load(&s, false, NOW + 29 * DAY);
	struct credential renewed AUTO(credential_done) = {0}, last = {0};
	autofree char *key = path_format("%s/controller.key", directory);
	struct stat st;

	assert_true(credential_equals(&first, &again));
	assert_true(credential_equals(&first, &alone));
	renewed = load(&s, true, NOW + 21 * DAY);
	assert_false(credential_equals(&first, &renewed));
	assert_string_equal(first.ca, renewed.ca);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(credential_load(&s, NULL, NOW + 52 * DAY, &last, &err), -EAGAIN);
}

static void a_controller_of_other_names_gets_another_certificate(void **state)
{
	char one[] = "c1.example", other[] = "c2.example";
	char *names[] = {one, NULL}, *others[] = {other, NULL};
	struct controller_settings s = {.state = (char *)(uintptr_t)directory, .names = names};
	struct credential first AUTO(credential_done) = load(&s, true, NOW);
	struct credential second AUTO(credential_done) = {0}, third AUTO(credential_done) = {0};
	autofree char *key = path_format("%s/controller.key", directory);

	s.names = others;
	second = load(&s, true, NOW);
	assert_false(credential_equals(&first, &second));
	/* A key that is not the certificate's. */
	assert_int_equal(file_replace(AT_FDCWD, key, first.key, strlen(first.key), 0600), 0);
	third = load(&s, true, NOW);
	assert_false(credential_equals(&second, &third));
}

static void a_controller_shows_the_certificate_it_is_given(void **state)
{
	autofree char *certificate = path_format("%s/given.pem", directory);
	autofree char *key = path_format("%s/given.key", directory);
	struct controller_settings s = {
		.state = (char *)(uintptr_t)directory, .certificate = certificate, .key = key};
	struct credential c = {0};

	assert_int_equal(credential_load(&s, db, NOW, &c, &err), -ENOENT);
	assert_non_null(strstr(err.text, "given.pem"));
	assert_int_equal(file_replace(AT_FDCWD, certificate, "C", 1, 0600), 0);
	assert_int_equal(file_replace(AT_FDCWD, key, "K", 1, 0600), 0);
	c = load(&s, true, NOW);
	assert_string_equal(c.certificate, "C");
	assert_string_equal(c.key, "K");
	credential_done(&c);
	c = load(&s, false, NOW);
	assert_non_null(strstr(c.ca, "BEGIN CERTIFICATE"));
	credential_done(&c);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(the_first_who_comes_makes_the_authority),
		EACH(one_that_is_damaged_is_not_made_anew),
		EACH(a_node_is_who_we_say_it_is),
		EACH(a_certificate_has_its_time),
		EACH(strangers_are_not_nodes),
		EACH(names_are_checked),
		EACH(keys_are_of_known_kinds_and_sizes),
		EACH(a_request_is_signed_by_its_key),
		EACH(what_is_no_request_is_refused),
		EACH(a_controller_keeps_its_certificate_until_it_nears_its_end),
		EACH(a_controller_of_other_names_gets_another_certificate),
		EACH(a_controller_shows_the_certificate_it_is_given),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
