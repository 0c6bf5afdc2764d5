/* What controllers answer to a node: the courier as it is, between a site and a daemon that are
 * made up. A line of input is an answer: a status and JSON, "200 {...}". */
#include <assert.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <sys/mman.h>

#include "courier/courier.h"
#include "engine/daemon.h"
#include "engine/nodekey.h"
#include "engine/packet.h"
#include "lib/file.h"
#include "lib/log.h"
#include "site/site.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *input, *input_end;
static char *key, *certificates[2], *certificate;

/* A certificate that lives for long, or is due to be renewed. */
static char *make_certificate(bool old)
{
	BIO *in = BIO_new_mem_buf(key, -1), *out = BIO_new(BIO_s_mem());
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	X509 *x = X509_new();
	char *data, *text;
	long n;

	X509_gmtime_adj(X509_getm_notBefore(x), old ? -86400 * 25 : 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400 * 5);
	X509_set_pubkey(x, pkey);
	X509_sign(x, pkey, EVP_sha256());
	PEM_write_bio_X509(out, x);
	n = BIO_get_mem_data(out, &data);
	text = strndup(data, (size_t)n);
	X509_free(x);
	EVP_PKEY_free(pkey);
	BIO_free(in);
	BIO_free(out);
	return text;
}

static int file_with(const char *text)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	assert(fd >= 0 && file_write_all(fd, text, strlen(text)) == 0);
	return fd;
}

static void answer_hello(struct daemon_answer *ret)
{
	ret->json = json_pack("{s:s, s:[s], s:i, s:[s, s, s, s, s]}", "node", "n1", "controllers",
		"https://c", "heartbeat_us", 1, "descriptors", "key", "certificate", "ca", "cursor",
		"refused");
	ret->fds[0] = file_with(key);
	ret->fds[1] = file_with(certificate);
	ret->fds[2] = file_with(certificate);
	ret->fds[3] = file_with("");
	ret->fds[4] = file_with("");
	ret->count = 5;
}

static void answer_state(struct daemon_answer *ret)
{
	ret->json = json_pack("{s:s, s:i, s:[], s:s, s:[s]}", "boot", "b", "sequence", 1, "leases",
		"configuration", "r", "descriptors", "vms");
	ret->fds[0] = file_with("[{\"id\":\"v1\",\"uid\":0},{\"id\":\"v2\",\"uid\":1}]");
	ret->count = 1;
}

static void answer_records(const json_t *question, struct daemon_answer *ret)
{
	static const char records[] = "{\"id\":\"00000000-0000-4000-8000-000000000001\"}\nx\n"
				      "{\"id\":\"00000000-0000-4000-8000-000000000002\"}\n";

	ret->json = json_object();
	if (json_integer_value(json_object_get(question, "from")) > 1)
		return;
	json_object_set_new(ret->json, "file", json_integer(1));
	json_object_set_new(ret->json, "descriptors", json_pack("[s]", "records"));
	ret->fds[0] = file_with(records);
	ret->count = 1;
}

/* What the courier says to the daemon is always a packet, and whole. */
static void check_question(const json_t *question)
{
	char *text = json_dumps(question, JSON_COMPACT);
	const char *reason = json_string_value(json_object_get(question, "reason"));

	assert(text && json_is_string(json_object_get(question, "op")));
	assert(!streq(json_string_value(json_object_get(question, "op")), "unanswered") ||
		(reason && reason[0] && strlen(reason) < 256));
	free(text);
}

int daemon_ask_file(
	struct daemon *d, json_t *question, int fd, struct daemon_answer *ret, struct error *err)
{
	assert(fd >= 0 && lseek(fd, 0, SEEK_END) > 0);
	return daemon_ask(d, question, ret, err);
}

int daemon_ask(struct daemon *d, json_t *question, struct daemon_answer *ret, struct error *err)
{
	const char *op = json_string_value(json_object_get(question, "op"));

	*ret = (struct daemon_answer){0};
	assert(question && op);
	check_question(question);
	if (streq(op, "hello"))
		answer_hello(ret);
	else if (input >= input_end)
		ret->json = NULL;
	else if (streq(op, "state"))
		answer_state(ret);
	else if (streq(op, "records"))
		answer_records(question, ret);
	else if (streq(op, "leases"))
		ret->json = json_pack(
			"{s:[{s:s, s:s}], s:[s]}", "give", "id", "l1", "pool", "p", "take", "l2");
	else
		ret->json = json_object();
	json_decref(question);
	return ret->json ? 0 : fail(err, -ECONNRESET, "the daemon has ended");
}

void daemon_answer_done(struct daemon_answer *a)
{
	json_decref(a->json);
	for (size_t i = 0; i < a->count; i++)
		base_close(a->fds[i]);
	*a = (struct daemon_answer){0};
}

int daemon_answer_take(struct daemon_answer *a, const char *name)
{
	json_t *names = json_object_get(a->json, "descriptors");

	for (size_t i = 0; i < a->count; i++)
		if (streq(json_string_value(json_array_get(names, i)), name))
			return TAKE_FD(a->fds[i]);
	return -1;
}

int daemon_wait(struct daemon *d, uint64_t deadline_us)
{
	d->changed = false;
	return input < input_end ? 0 : -ECONNRESET;
}

int site_open(const struct site_options *options, struct site **ret, struct error *err)
{
	*ret = NULL;
	return 0;
}

struct site *site_free(struct site *s)
{
	return NULL;
}

const char *site_controller(const struct site *s)
{
	return "https://c";
}

int site_call(struct site *s, const char *method, const char *path, json_t *body,
	const char *if_match, json_t **ret, char **ret_etag, struct error *err)
{
	const char *line = input, *end;
	int status;

	*ret = NULL;
	if (input >= input_end)
		return fail(err, -ENOTCONN, "none answers");
	end = memchr(line, '\n', (size_t)(input_end - line));
	end = end ? end : input_end;
	input = end + 1;
	status = end - line > 3 ? atoi((char[4]){line[0], line[1], line[2], 0}) : 0;
	if (status < 200 || status >= 500)
		return fail(err, -ENOTCONN, "none answers");
	*ret = json_loadb(line + 3, (size_t)(end - line) - 3, JSON_REJECT_DUPLICATES, NULL);
	if (status >= 400)
		fail(err, -EREMOTEIO, "%.*s", (int)MIN_OF(end - line, (ptrdiff_t)1000), line);
	return status;
}

int site_get(struct site *s, const char *path, const char *known, json_t **ret, char **ret_etag,
	struct error *err)
{
	*ret_etag = strdup("7");
	return site_call(s, "GET", path, NULL, NULL, ret, NULL, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = {0};

	if (!key) {
		log_set("fuzz", LOG_LEVEL_ERROR);
		assert(nodekey_make(&key, &err) == 0);
		certificates[0] = make_certificate(false);
		certificates[1] = make_certificate(true);
	}
	certificate = certificates[size % 2];
	input = (const char *)data;
	input_end = input + size;
	courier_run(-1, &err);
	return 0;
}
