#include "site/site.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "lib/deadline.h"
#include "lib/printable.h"
#include "site/attempt.h"

#define BODY_MAX       (16U << 20)
#define BYTES_MAX      (64U << 20)
#define PAUSE_FIRST_MS 100 /* between two rounds over all controllers; grows */
#define PAUSE_MAX_MS   3000

struct site {
	struct site_options options;
	CURL *curl;
	size_t count, current; /* controllers; the one that is tried first */
	bool answered;         /* `current` has */
	int status;            /* of the last answer */
};

static int check_controller(const char *address, struct error *err)
{
	const char *path = str_after(address, "unix:");
	const char *host = str_after(address, "https://");

	for (const char *c = address; *c; c++)
		if (!isgraph((unsigned char)*c))
			return fail(err, -EINVAL, "'%s' is no address: it has blanks", address);
	if (path ? path[0] == '/' : host && host[0] && !strpbrk(host, "@?#"))
		return 0;
	return fail(err, -EINVAL,
		"'%s' is no address of a controller; one is https://HOST:PORT or unix:/PATH",
		address);
}

static int check_options(const struct site_options *o, struct error *err)
{
	if (!o->controllers || !o->controllers[0])
		return fail(err, -EINVAL,
			"no controller is known; set [site] controllers in wnodes.conf");
	for (const char *const *c = o->controllers; *c; c++)
		if (check_controller(*c, err) < 0)
			return -EINVAL;
	for (const char *c = o->token ? o->token : ""; *c; c++)
		if (!isgraph((unsigned char)*c))
			return fail(err, -EINVAL, "the token is not one line without blanks");
	if (o->token && !o->token[0])
		return fail(err, -EINVAL, "the token is empty");
	if (!o->certificate_file != !o->key_file || o->timeout_ms <= 0 || o->patience_ms < 0)
		return fail(err, -EINVAL, "a certificate needs its key, and times are positive");
	return 0;
}

static void start_library(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

int site_open(const struct site_options *options, struct site **ret, struct error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct site *s AUTO(site_freep) = NULL;

	if (check_options(options, err) < 0)
		return -EINVAL;
	pthread_once(&once, start_library);
	s = calloc(1, sizeof(*s));
	if (s)
		s->curl = curl_easy_init();
	if (!s || !s->curl)
		return fail(err, -ENOMEM, "out of memory");
	s->options = *options;
	while (options->controllers[s->count])
		s->count++;
	*ret = TAKE_PTR(s);
	return 0;
}

struct site *site_free(struct site *s)
{
	if (!s)
		return NULL;
	curl_easy_cleanup(s->curl);
	free(s);
	return NULL;
}

const char *site_controller(const struct site *s)
{
	return s->answered ? s->options.controllers[s->current] : NULL;
}

int site_get_status(const struct site *s)
{
	return s->status;
}

/* The answer's own words, else the status. */
static int explain(const struct attempt_answer *a, int code, struct error *err)
{
	const char *text = json_string_value(json_object_get(a->json, "error"));

	if (text && text[0])
		fail(err, code, "%s", text);
	else
		fail(err, code, "it answers with status %d and gives no reason", a->status);
	if (err)
		printable_make_line(err->text, strlen(err->text));
	return code;
}

/* One attempt. A credential that has served already was refused because of a connection that broke
 * behind it and was made anew: the next one is fresh. Returns as attempt_run(). */
static int try_one(
	struct site *s, const struct attempt *q, struct attempt_answer *ret, struct error *err)
{
	const char *controller = s->options.controllers[s->current];
	int r = attempt_run(s->curl, &s->options, controller, q, ret, err);

	if (r == 0 && ret->status == 401 && s->options.munge && !s->options.token &&
		!str_after(controller, "unix:")) {
		attempt_answer_done(ret);
		r = attempt_run(s->curl, &s->options, controller, q, ret, err);
	}
	if (r == 0 && ret->status >= 500)
		r = explain(ret, -ENOTCONN, err);
	return r;
}

/* All in turn, from the one that has answered last. *ret_wait_s is the longest pause that one has
 * asked for. Returns 0, or -ENOTCONN, or -EKEYREJECTED if it is of no use to wait. */
static int try_all(struct site *s, const struct attempt *q, struct attempt_answer *ret,
	uint64_t *ret_wait_s, struct error *err)
{
	bool lasting = true;
	int r = 0;

	*ret_wait_s = 0;
	for (size_t i = 0; i < s->count; i++) {
		r = try_one(s, q, ret, err);
		if (r == 0 || r == -ENOMEM)
			return r;
		fail_within(err, "no controller answers; '%s'", s->options.controllers[s->current]);
		lasting &= r == -EKEYREJECTED;
		*ret_wait_s = MAX_OF(*ret_wait_s, ret->retry_after_s);
		attempt_answer_done(ret);
		s->answered = false;
		s->current = (s->current + 1) % s->count;
	}
	return lasting ? -EKEYREJECTED : -ENOTCONN;
}

/* Longer each time, and never the same for all who wait. */
static void pause_before(unsigned int round, uint64_t asked_s, uint64_t deadline)
{
	uint64_t ms = MIN_OF((uint64_t)PAUSE_FIRST_MS << MIN_OF(round, 10U), PAUSE_MAX_MS);
	uint16_t random = 0;
	int left = deadline_left_ms(deadline);
	struct timespec t;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	ms = MAX_OF(ms - ms / 2 * random / UINT16_MAX, MIN_OF(asked_s * 1000, PAUSE_MAX_MS));
	ms = MIN_OF(ms, (uint64_t)MAX_OF(left, 0));
	t = (struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
	nanosleep(&t, NULL);
}

static int try_patiently(
	struct site *s, const struct attempt *q, struct attempt_answer *ret, struct error *err)
{
	uint64_t deadline = deadline_in_ms(s->options.patience_ms), wait_s;

	for (unsigned int round = 0;; round++) {
		int r = try_all(s, q, ret, &wait_s, err);

		if (r == -EKEYREJECTED || (r == -ENOTCONN && deadline_left_ms(deadline) == 0)) {
			return -ENOTCONN;
		}
		if (r != -ENOTCONN)
			return r;
		pause_before(round, wait_s, deadline);
	}
}

static int check_request(const char *method, const char *path, struct error *err)
{
	size_t n = strlen(method);

	if (n == 0 || n > 16 || strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != n)
		return fail(err, -EINVAL, "'%s' is no method", method);
	if (path[0] != '/' || strlen(path) > ATTEMPT_PATH_MAX)
		return fail(err, -EINVAL, "a path begins with / and has at most %d bytes",
			ATTEMPT_PATH_MAX);
	for (const char *c = path; *c; c++)
		if (!isgraph((unsigned char)*c) || *c == '#')
			return fail(err, -EINVAL,
				"'%s' is no path: what is not plain is written as %%XX", path);
	return 0;
}

static int run(
	struct site *s, const struct attempt *q, json_t **ret, char **ret_etag, struct error *err)
{
	struct attempt_answer answer AUTO(attempt_answer_done) = {0};
	struct error reason = {0};
	int r = check_request(q->method, q->path, err);

	if (r == 0) {
		r = try_patiently(s, q, &answer, &reason);
		if (r < 0)
			fail(err, r, "%s", reason.text);
	}
	if (r < 0)
		return r;
	s->answered = true;
	s->status = answer.status;
	if (answer.status >= 400)
		explain(&answer, -EREMOTEIO, err);
	*ret = TAKE_PTR(answer.json);
	if (ret_etag)
		*ret_etag = TAKE_PTR(answer.etag);
	return answer.status;
}

static int call(struct site *s, struct attempt *q, json_t *body, json_t **ret, char **ret_etag,
	struct error *err)
{
	autofree char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	*ret = NULL;
	if (ret_etag)
		*ret_etag = NULL;
	q->body = text;
	q->body_length = text ? strlen(text) : 0;
	if ((body && !text) || q->body_length > BODY_MAX)
		return fail(err, -EFBIG, "what is asked has more than %u MiB", BODY_MAX >> 20);
	return run(s, q, ret, ret_etag, err);
}

int site_call(struct site *s, const char *method, const char *path, json_t *body,
	const char *if_match, json_t **ret, char **ret_etag, struct error *err)
{
	struct attempt q = {.method = method, .path = path, .if_match = if_match};

	return call(s, &q, body, ret, ret_etag, err);
}

int site_get(struct site *s, const char *path, const char *known, json_t **ret, char **ret_etag,
	struct error *err)
{
	struct attempt q = {.method = "GET", .path = path, .known = known};

	return call(s, &q, NULL, ret, ret_etag, err);
}

int site_send(struct site *s, const char *method, const char *path, const void *data, size_t length,
	json_t **ret, struct error *err)
{
	struct attempt q = {.method = method,
		.path = path,
		.body = data,
		.body_length = length,
		.type = "application/octet-stream"};

	*ret = NULL;
	if (length > BYTES_MAX)
		return fail(err, -EFBIG, "what is sent has more than %u MiB", BYTES_MAX >> 20);
	return run(s, &q, ret, NULL, err);
}
