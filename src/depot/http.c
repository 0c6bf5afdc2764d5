/* libcurl does it. Proxies of the environment are used, as caches are wanted; nothing else of the
 * environment or of the user's files leads anywhere, and redirects stay within http and https. */
#include "depot/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "config.h"
#include "lib/printable.h"

#define CONNECT_MS    5000
#define SILENCE_MS    15000
#define CONNECTIONS   8
#define REDIRECTS_MAX 5
#define IDLE_MAX      32 /* handles that are kept for the next GET */

struct transfer {
	struct http *http;
	CURL *curl;
	struct buffer body;
	size_t max;
	bool too_long, no_memory;
	char text[CURL_ERROR_SIZE];
	http_fn done;
	void *userdata;
	struct transfer *previous, *next; /* of those that are going on */
};

struct http {
	struct http_options options;
	CURLM *multi;
	struct transfer *transfers;
	size_t active;
	bool cancelled;
	CURL *idle[IDLE_MAX]; /* with their connections' state */
	size_t idle_count;
};

int http_new(const struct http_options *options, struct http **ret)
{
	struct http *h AUTO(http_freep) = calloc(1, sizeof(*h));

	if (!h || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	if (options)
		h->options = *options;
	h->multi = curl_multi_init();
	if (!h->multi)
		return -ENOMEM;
	curl_multi_setopt(h->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
		(long)(h->options.connections ? h->options.connections : CONNECTIONS));
	curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	*ret = TAKE_PTR(h);
	return 0;
}

static void transfer_free(struct transfer *t)
{
	struct http *h = t->http;

	if (t->previous)
		t->previous->next = t->next;
	else
		h->transfers = t->next;
	if (t->next)
		t->next->previous = t->previous;
	h->active--;
	curl_easy_reset(t->curl); /* it must not remember what is freed here */
	if (h->idle_count < IDLE_MAX)
		h->idle[h->idle_count++] = t->curl;
	else
		curl_easy_cleanup(t->curl);
	buffer_done(&t->body);
	free(t);
}

struct http *http_free(struct http *h)
{
	if (!h)
		return NULL;
	while (h->transfers) {
		curl_multi_remove_handle(h->multi, h->transfers->curl);
		transfer_free(h->transfers);
	}
	for (size_t i = 0; i < h->idle_count; i++)
		curl_easy_cleanup(h->idle[i]);
	curl_multi_cleanup(h->multi);
	free(h);
	return NULL;
}

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
	struct transfer *t = userdata;

	if (count > t->max - t->body.len) {
		t->too_long = true;
		return 0;
	}
	t->no_memory = buffer_append(&t->body, data, count) < 0;
	return t->no_memory ? 0 : count;
}

static void set_trust(CURL *curl, const struct http_options *o)
{
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
	if (o->ca_file) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, o->ca_file);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* else the system's count too */
	}
	if (o->certificate_file) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, o->certificate_file);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, o->key_file);
	}
}

static void set_limits(CURL *curl, const struct http_options *o, size_t max, uint32_t timeout_ms)
{
	uint32_t silence_ms = o->silence_ms ? o->silence_ms : SILENCE_MS;

	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
		(long)(o->connect_ms ? o->connect_ms : CONNECT_MS));
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)((silence_ms + 999) / 1000));
	curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)max);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
}

static void set_transfer(struct transfer *t, const char *url, uint32_t timeout_ms)
{
	CURL *curl = t->curl;

	set_limits(curl, &t->http->options, t->max, timeout_ms);
	set_trust(curl, &t->http->options);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "wnodes/" WNODES_VERSION);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->text);
	curl_easy_setopt(curl, CURLOPT_PRIVATE, t);
}

static struct transfer *transfer_new(struct http *h)
{
	struct transfer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->http = h;
	t->curl = h->idle_count > 0 ? h->idle[--h->idle_count] : curl_easy_init();
	if (!t->curl) {
		free(t);
		return NULL;
	}
	t->next = h->transfers;
	if (t->next)
		t->next->previous = t;
	h->transfers = t;
	h->active++;
	return t;
}

int http_get(struct http *h, const char *url, size_t max, uint32_t timeout_ms, http_fn done,
	void *userdata)
{
	struct transfer *t;

	if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
		return -EINVAL;
	t = transfer_new(h);
	if (!t)
		return -ENOMEM;
	t->max = max;
	t->done = done;
	t->userdata = userdata;
	set_transfer(t, url, timeout_ms);
	if (curl_multi_add_handle(h->multi, t->curl) == CURLM_OK)
		return 0;
	transfer_free(t);
	return -ENOMEM;
}

size_t http_active(const struct http *h)
{
	return h->active;
}

static int code_of_status(long status)
{
	return status == 404 || status == 410   ? -ENOENT
	       : status == 429 || status == 503 ? -EBUSY
	       : status == 408                  ? -ETIMEDOUT
	       : status >= 400 && status < 500  ? -EACCES
						: -EPROTO;
}

static int code_of(CURLcode code)
{
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_TOO_MANY_REDIRECTS:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
	case CURLE_WEIRD_SERVER_REPLY:
		return -EPROTO;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
		return -EKEYREJECTED;
	default:
		return -ENOTCONN;
	}
}

static void fail_transfer(const struct transfer *t, CURLcode code, struct error *err)
{
	long status = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	if (t->too_long || code == CURLE_FILESIZE_EXCEEDED)
		fail(err, -EFBIG, "it sends more than %zu bytes", t->max);
	else if (t->no_memory)
		fail(err, -ENOMEM, "out of memory");
	else if (code == CURLE_HTTP_RETURNED_ERROR)
		fail(err, code_of_status(status), "it answers with status %ld", status);
	else
		fail(err, code_of(code), "%s", t->text[0] ? t->text : curl_easy_strerror(code));
	printable_make_line(err->text, strlen(err->text));
}

static void transfer_end(struct http *h, struct transfer *t, CURLcode code)
{
	struct error err = {0};
	long status = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK)
		fail_transfer(t, code, &err);
	else if (status != 200)
		fail(&err, -EPROTO, "it answers with status %ld", status);
	curl_multi_remove_handle(h->multi, t->curl);
	t->done(&t->body, &err, t->userdata);
	transfer_free(t);
}

static void end_all(struct http *h)
{
	struct error err = {0};

	h->cancelled = false;
	fail(&err, -ECANCELED, "it was broken off");
	while (h->transfers) {
		struct transfer *t = h->transfers;

		curl_multi_remove_handle(h->multi, t->curl);
		t->done(&t->body, &err, t->userdata);
		transfer_free(t);
	}
}

void http_cancel(struct http *h)
{
	h->cancelled = true;
}

static bool take_ended(struct http *h)
{
	CURLMsg *message;
	bool any = false;
	int left;

	while ((message = curl_multi_info_read(h->multi, &left))) {
		struct transfer *t = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		transfer_end(h, t, message->data.result);
		any = true;
	}
	return any;
}

int http_run(struct http *h, uint32_t timeout_ms)
{
	int running;

	if (h->cancelled)
		end_all(h);
	if (curl_multi_perform(h->multi, &running) != CURLM_OK)
		return -EIO;
	if (take_ended(h))
		timeout_ms = 0;
	if (curl_multi_poll(h->multi, NULL, 0, (int)timeout_ms, NULL) != CURLM_OK ||
		curl_multi_perform(h->multi, &running) != CURLM_OK)
		return -EIO;
	take_ended(h);
	return 0;
}

void http_wake(struct http *h)
{
	curl_multi_wakeup(h->multi);
}
