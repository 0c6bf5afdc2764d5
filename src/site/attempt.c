/* libcurl does the talking; what is asked of it here is that nothing of the environment, of the
 * user's files or of the answer leads it anywhere else: no proxies, no redirects, no other
 * protocols, no other authorities than the given one. */
#include "site/attempt.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "config.h"
#include "lib/buffer.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/printable.h"
#include "site/proof.h"

#define CONNECT_MS        2000 /* a machine that is up has answered by then */
#define GONE_MS           4000 /* what was sent and is not even received: the link is gone */
#define PROBE_S           1L   /* how often it is looked for while an answer is waited for */
#define ETAG_MAX          256
#define RETRY_AFTER_MAX_S 60
#define REASON_MAX        600 /* bytes of what a controller gives as its reason */

typedef struct curl_slist *lines_t;

static lines_t lines_free(lines_t lines)
{
	curl_slist_free_all(lines);
	return NULL;
}
DEFINE_CLEANUP(lines_t, lines_free)

/* What arrives. */
struct arrival {
	struct attempt_answer *answer;
	struct buffer body;
	bool too_long;
};

static void arrival_done(struct arrival *a)
{
	buffer_done(&a->body);
}

void attempt_answer_done(struct attempt_answer *a)
{
	json_decref(a->json);
	free(a->etag);
	*a = (struct attempt_answer){0};
}

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
	struct arrival *a = userdata;

	if (count > ATTEMPT_ANSWER_MAX - a->body.len) {
		a->too_long = true;
		return 0;
	}
	return buffer_append(&a->body, data, count) < 0 ? 0 : count;
}

/* The value of this header, if the line is that; without blanks around. For free(), or NULL. */
static char *header_value(const char *line, size_t length, const char *name)
{
	size_t n = strlen(name);

	if (length <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return NULL;
	for (n++; n < length && (line[n] == ' ' || line[n] == '\t'); n++)
		;
	while (length > n && strchr(" \t\r\n", line[length - 1]))
		length--;
	return strndup(line + n, length - n);
}

/* W/"7" or "7": 7. */
static char *etag_parse(const char *text)
{
	const char *weak = str_after(text, "W/");
	size_t n;

	text = weak ? weak : text;
	n = strlen(text);
	if (n < 2 || n > ETAG_MAX || text[0] != '"' || text[n - 1] != '"')
		return NULL;
	return strndup(text + 1, n - 2);
}

static size_t on_header(char *data, size_t size, size_t count, void *userdata)
{
	struct arrival *a = userdata;
	autofree char *etag = header_value(data, count, "ETag");
	autofree char *after = header_value(data, count, "Retry-After");

	if (etag && !a->answer->etag)
		a->answer->etag = etag_parse(etag);
	if (after)
		parse_number(after, 0, RETRY_AFTER_MAX_S, &a->answer->retry_after_s, NULL);
	return count;
}

static bool lines_add(lines_t *lines, const char *text)
{
	lines_t longer = text ? curl_slist_append(*lines, text) : NULL;

	if (longer)
		*lines = longer;
	return longer;
}

static int add_headers(const struct attempt *q, const char *proof, lines_t *ret, struct error *err)
{
	autofree char *match =
		q->if_match
			? path_format(streq(q->if_match, "*") ? "If-Match: %s" : "If-Match: \"%s\"",
				  q->if_match)
			: NULL;
	autofree char *known = q->known ? path_format("If-None-Match: \"%s\"", q->known) : NULL;
	autofree char *type = q->type ? path_format("Content-Type: %s", q->type) : NULL;
	/* Without "Expect:" a longer body would wait to be asked for. */
	bool ok = lines_add(ret, "Accept: application/json") && lines_add(ret, "Expect:");

	if (ok && q->body)
		ok = lines_add(ret, q->type ? type : "Content-Type: application/json");
	if (ok && q->if_match)
		ok = lines_add(ret, match);
	if (ok && q->known)
		ok = lines_add(ret, known);
	if (ok && proof)
		ok = lines_add(ret, proof);
	return ok ? 0 : fail(err, -ENOMEM, "out of memory");
}

static void set_request(CURL *curl, const struct attempt *q, lines_t headers)
{
	bool get = streq(q->method, "GET");

	if (get)
		curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
	if (!get || q->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_length);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, q->body ? q->body : "");
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, q->method);
	/* A credential is for the path as it is here. */
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "wnodes/" WNODES_VERSION);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
}

/* A machine that takes its time with an answer says at once that it has heard us; one whose link
 * was cut says nothing, which would be noticed only at the end of the whole attempt. */
static int on_socket(void *userdata, curl_socket_t fd, curlsocktype purpose)
{
	unsigned int ms = GONE_MS;

	/* A socket of this machine has no such thing. */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	return CURL_SOCKOPT_OK;
}

static void set_limits(CURL *curl, const struct site_options *o)
{
	long connect = o->controllers[1] ? MIN_OF(o->timeout_ms, CONNECT_MS) : o->timeout_ms;

	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, connect);
	curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)ATTEMPT_ANSWER_MAX);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, PROBE_S);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, PROBE_S);
	curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, on_socket);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
}

static void set_trust(CURL *curl, const struct site_options *o)
{
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
	if (o->ca_file) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, o->ca_file);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* else the system's count as well */
	}
	if (o->certificate_file) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, o->certificate_file);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, o->key_file);
	}
}

static int set_address(CURL *curl, const char *controller, const char *path, struct error *err)
{
	const char *socket = str_after(controller, "unix:");
	size_t n = strlen(controller);
	autofree char *url = NULL;

	/* One '/' between the address and the path, however the address ends. */
	while (n > 0 && controller[n - 1] == '/')
		n--;
	url = socket ? path_format("http://localhost%s", path)
		     : path_format("%.*s%s", (int)n, controller, path);
	if (!url || curl_easy_setopt(curl, CURLOPT_URL, url) != CURLE_OK)
		return fail(err, -ENOMEM, "out of memory");
	if (socket)
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, socket ? "http" : "https");
	return 0;
}

/* Is this something that goes on until a person has changed a setting, a file, a certificate? */
static bool is_lasting(CURLcode code)
{
	return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
	       code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_ISSUER_ERROR ||
	       code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
	       code == CURLE_TOO_MANY_REDIRECTS;
}

static int fail_transfer(
	CURLcode code, const struct arrival *a, const char *text, struct error *err)
{
	if (a->too_long || code == CURLE_FILESIZE_EXCEEDED)
		return fail(err, -ENOTCONN, "it answers with more than %u MiB",
			ATTEMPT_ANSWER_MAX >> 20);
	fail(err, is_lasting(code) ? -EKEYREJECTED : -ENOTCONN, "%s",
		text[0] ? text : curl_easy_strerror(code));
	printable_make_line(err->text, strlen(err->text));
	return err->code;
}

/* An object, or nothing at all where none is needed. */
static int read_answer(struct arrival *a, bool known, struct error *err)
{
	json_error_t where;
	int status = a->answer->status;

	if (status == 304 && known)
		return 0;
	if (status < 200 || (status >= 300 && status < 400) || status > 599)
		return fail(err, -ENOTCONN,
			"it answers with status %d, as no controller does; is the address right?",
			status);
	if (a->body.len == 0 && (status < 300 || status >= 500))
		return 0;
	a->answer->json = json_loadb(
		(const char *)buffer_head(&a->body), a->body.len, JSON_REJECT_DUPLICATES, &where);
	/* What stands before it and is broken itself answers in other ways: HTML, mostly. */
	if (!json_is_object(a->answer->json) && status < 500)
		return fail(err, -ENOTCONN,
			"it answers with status %d and what is no JSON object, as no controller "
			"does; is the address right?",
			status);
	return 0;
}

static int transfer(CURL *curl, struct arrival *a, bool known, struct error *err)
{
	char text[CURL_ERROR_SIZE] = "";
	CURLcode code;
	long status = 0;

	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, a);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
	code = curl_easy_perform(curl);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	if (code != CURLE_OK)
		return fail_transfer(code, a, text, err);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	a->answer->status = (int)status;
	return read_answer(a, known, err);
}

int attempt_run(CURL *curl, const struct site_options *options, const char *controller,
	const struct attempt *attempt, struct attempt_answer *ret, struct error *err)
{
	struct arrival a AUTO(arrival_done) = {.answer = ret};
	autofree char *proof = NULL;
	lines_t headers AUTO(lines_freep) = NULL;
	int r = 0;

	*ret = (struct attempt_answer){0};
	curl_easy_reset(curl);               /* connections stay */
	if (!str_after(controller, "unix:")) /* a socket says itself who is at its other end */
		r = proof_make(options, attempt, &proof, err);
	if (r == 0)
		r = add_headers(attempt, proof, &headers, err);
	if (r < 0)
		return r;
	set_limits(curl, options);
	set_trust(curl, options);
	set_request(curl, attempt, headers);
	r = set_address(curl, controller, attempt->path, err);
	return r < 0 ? r : transfer(curl, &a, attempt->known, err);
}
