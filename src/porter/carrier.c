/* What libcurl is told: nothing of the environment or of an answer leads it anywhere else, and a
 * connection is believed for as long as it lives. */
#include "porter/carrier.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "config.h"
#include "lib/path.h"

/* A machine that is up answers by then; with the silence that makes a request fail, one that is not
 * costs less than two seconds. */
#define CONNECT_MS      1000
#define CONNECTIONS_MAX 64
#define ALIVE_S         60 /* connections that nobody uses */
#define BUFFER_SIZE     (128 * 1024)

struct carrier {
	CURLM *multi;
	const struct credential *credential;
	struct errand *first;
	bool running; /* within curl_multi_perform(): nothing is removed from it */
};

struct errand {
	struct carrier *owner;
	struct errand *next, **link;
	CURL *curl;              /* NULL: */
	struct reading *reading; /* from a directory */
	struct curl_slist *lines, *connect_to;
	struct buffer body;
	struct errand_calls calls;
	uint64_t max, got;
	bool cancelled;
	char reason[CURL_ERROR_SIZE];
};

int carrier_new(const struct credential *credential, struct carrier **ret, struct error *err)
{
	struct carrier *c = calloc(1, sizeof(*c));

	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (c)
		c->multi = curl_multi_init();
	if (!c || !c->multi) {
		free(c);
		return fail(err, -ENOMEM, "out of memory");
	}
	c->credential = credential;
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
	curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	*ret = c;
	return 0;
}

static void destroy(struct errand *e)
{
	if (e->link) {
		*e->link = e->next;
		if (e->next)
			e->next->link = e->link;
	}
	if (e->reading)
		reading_cancel(e->reading);
	if (e->curl) {
		curl_multi_remove_handle(e->owner->multi, e->curl);
		curl_easy_cleanup(e->curl);
	}
	curl_slist_free_all(e->lines);
	curl_slist_free_all(e->connect_to);
	buffer_done(&e->body);
	free(e);
}

struct carrier *carrier_free(struct carrier *c)
{
	if (!c)
		return NULL;
	while (c->first)
		destroy(c->first);
	curl_multi_cleanup(c->multi);
	free(c);
	return NULL;
}

void errand_cancel(struct errand *e)
{
	e->cancelled = true;
	if (!e->owner->running)
		destroy(e);
}

static size_t on_data(char *data, size_t size, size_t count, void *userdata)
{
	struct errand *e = userdata;
	long status = 0;

	e->got += count;
	if (e->cancelled || e->got > e->max)
		return 0;
	curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return e->got > 65536 ? 0 : count;
	return e->calls.on_data(e->calls.userdata, data, count) ? count : 0;
}

/* A node's certificate is one for clients: what its site has signed for servers is a controller's.
 */
static CURLcode expect_node(CURL *curl, void *context, void *userdata)
{
	return SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT) == 1 ? CURLE_OK
									  : CURLE_SSL_CERTPROBLEM;
}

static void set_trust(struct errand *e, const struct errand_address *address)
{
	const struct credential *credential = e->owner->credential;

	curl_easy_setopt(e->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (!address->node && !address->site)
		return;
	curl_easy_setopt(e->curl, CURLOPT_CAINFO, credential->ca_path);
	curl_easy_setopt(e->curl, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(e->curl, CURLOPT_SSLCERT, credential->certificate_path);
	curl_easy_setopt(e->curl, CURLOPT_SSLKEY, credential->key_path);
	if (address->node)
		curl_easy_setopt(e->curl, CURLOPT_SSL_CTX_FUNCTION, expect_node);
}

/* A node is asked by its name, and reached at its address, so that libcurl checks the name in its
 * certificate, and takes no other node's connection for it. */
static bool set_address(struct errand *e, const struct errand_address *address, const char *path)
{
	const char *host = address->node ? str_after(address->url, "https://") : NULL;
	autofree char *url = NULL, *connect = NULL;

	if (!address->node) {
		url = path_format("%s%s", address->url, path);
		curl_easy_setopt(e->curl, CURLOPT_PROTOCOLS_STR, "http,https");
		return url && curl_easy_setopt(e->curl, CURLOPT_URL, url) == CURLE_OK;
	}
	if (!host)
		return false;
	url = path_format("https://%s%s", address->node, path);
	connect = path_format("::%s", host);
	if (!url || !connect)
		return false;
	e->connect_to = curl_slist_append(NULL, connect);
	curl_easy_setopt(e->curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(e->curl, CURLOPT_CONNECT_TO, e->connect_to);
	return e->connect_to && curl_easy_setopt(e->curl, CURLOPT_URL, url) == CURLE_OK;
}

static bool set_request(struct errand *e)
{
	struct curl_slist *first;

	if (e->body.len == 0)
		return true;
	first = curl_slist_append(NULL, "Content-Type: application/octet-stream");
	/* Without "Expect:" a longer body would wait to be asked for. */
	e->lines = first ? curl_slist_append(first, "Expect:") : NULL;
	if (!e->lines) {
		curl_slist_free_all(first);
		return false;
	}
	curl_easy_setopt(e->curl, CURLOPT_HTTPHEADER, e->lines);
	curl_easy_setopt(e->curl, CURLOPT_POST, 1L);
	curl_easy_setopt(e->curl, CURLOPT_POSTFIELDS, (const char *)buffer_head(&e->body));
	curl_easy_setopt(e->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)e->body.len);
	return true;
}

static void set_limits(struct errand *e)
{
	curl_easy_setopt(e->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(e->curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e->curl, CURLOPT_PROXY, "");
	curl_easy_setopt(e->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(e->curl, CURLOPT_MAXAGE_CONN, (long)ALIVE_S);
	curl_easy_setopt(e->curl, CURLOPT_BUFFERSIZE, (long)BUFFER_SIZE);
	curl_easy_setopt(e->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e->curl, CURLOPT_USERAGENT, "wnodes/" WNODES_VERSION);
	curl_easy_setopt(e->curl, CURLOPT_ERRORBUFFER, e->reason);
	curl_easy_setopt(e->curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(e->curl, CURLOPT_WRITEDATA, e);
	curl_easy_setopt(e->curl, CURLOPT_PRIVATE, e);
}

void carrier_wake(void *carrier)
{
	struct carrier *c = carrier;

	curl_multi_wakeup(c->multi);
}

/* A file is read as it is: there is nothing to be asked in a directory. */
static bool set_up(struct errand *e, const struct errand_address *address, const char *path)
{
	if (address->folder) {
		e->reading = e->body.len > 0 ? NULL : folder_read(address->folder, path, e->max);
		return e->reading;
	}
	e->curl = curl_easy_init();
	if (!e->curl || !set_request(e) || !set_address(e, address, path))
		return false;
	set_limits(e);
	set_trust(e, address);
	return true;
}

struct errand *carrier_start(struct carrier *c, const struct errand_address *address,
	const char *path, struct buffer *body, uint64_t max, const struct errand_calls *calls)
{
	struct errand *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	*e = (struct errand){.owner = c, .calls = *calls, .max = max};
	if (body) {
		e->body = *body;
		*body = (struct buffer){0};
	}
	if (!set_up(e, address, path)) {
		destroy(e);
		return NULL;
	}
	e->next = c->first;
	e->link = &c->first;
	if (e->next)
		e->next->link = &e->next;
	c->first = e;
	if (e->curl)
		curl_multi_add_handle(c->multi, e->curl);
	return e;
}

static void end(struct errand *e, CURLcode code)
{
	struct errand_calls calls = e->calls;
	bool cancelled = e->cancelled;
	char why[CURL_ERROR_SIZE] = "";
	long status = 0;

	if (code == CURLE_OK)
		curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &status);
	else
		snprintf(why, sizeof(why), "%s",
			e->reason[0] ? e->reason : curl_easy_strerror(code));
	destroy(e);
	if (!cancelled)
		calls.on_end(calls.userdata, (int)status, why);
}

/* As a web server would say it. */
static int status_of(int result)
{
	return result == 0 ? 200 : result == -ENOENT ? 404 : 0;
}

/* As libcurl would tell of it. What is heard of an errand may cancel it, and others, so that the
 * list is begun anew after each. */
static bool end_reading(struct carrier *c)
{
	struct buffer bytes AUTO(buffer_done) = {0};
	struct errand *e = c->first;
	struct errand_calls calls;
	int result = 0;
	bool cancelled;

	while (e && !(e->reading && !e->cancelled && reading_take(e->reading, &result, &bytes)))
		e = e->next;
	if (!e)
		return false;
	e->reading = NULL;
	calls = e->calls;
	c->running = true;
	if (bytes.len > 0 && !calls.on_data(calls.userdata, buffer_head(&bytes), bytes.len))
		result = -EIO;
	c->running = false;
	cancelled = e->cancelled;
	destroy(e);
	if (!cancelled)
		calls.on_end(
			calls.userdata, status_of(result), result < 0 ? strerror(-result) : "");
	return true;
}

static void end_cancelled(struct carrier *c)
{
	for (struct errand *e = c->first, *next; e; e = next) {
		next = e->next;
		if (e->cancelled)
			destroy(e);
	}
}

int carrier_run(struct carrier *c, int fd, int timeout_ms)
{
	struct curl_waitfd extra = {.fd = fd, .events = CURL_WAIT_POLLIN};
	int running, left;
	CURLMcode code;
	CURLMsg *message;

	code = curl_multi_poll(c->multi, &extra, fd >= 0, timeout_ms, NULL);
	c->running = true;
	if (code == CURLM_OK)
		code = curl_multi_perform(c->multi, &running);
	c->running = false;
	end_cancelled(c);
	while (code == CURLM_OK && (message = curl_multi_info_read(c->multi, &left))) {
		char *errand = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &errand);
		end((struct errand *)(void *)errand, message->data.result);
	}
	while (code == CURLM_OK && end_reading(c))
		;
	return code == CURLM_OK ? 0 : -EIO;
}
