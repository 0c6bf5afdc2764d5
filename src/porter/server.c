#include "porter/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "depot/throttle.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "porter/visitor.h"
#include "serve/listener.h"
#include "serve/tls.h"

#define THREADS          2
#define CONNECTIONS_MAX  512
#define EACH_ADDRESS_MAX 32         /* connections; a node has a few */
#define CONNECTION_BYTES (32 << 10) /* for headers, and what is being read of a body */
#define IDLE_S           30

/* Who has not taken an answer by then loses it: at most some megabytes. */
#define ANSWER_US UINT64_C(60000000)

#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define IMMUTABLE  "public, max-age=31536000, immutable"

struct server {
	struct holdings *holdings;
	struct handshakes *handshakes;
	struct MHD_Daemon *daemon;
	pthread_mutex_t lock; /* of what follows */
	struct throttle throttle;
	uint64_t sent;
	struct call *first;
};

/* A request. */
struct call {
	struct buffer body;
	bool too_long, has_slot;
	struct visitor *visitor;
	uint64_t begun_us; /* when it got its slot */
	struct call *next; /* of those that have one; with the lock */
};

static void PRINTF(2, 0) on_message(void *userdata, const char *format, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\r\n")] = '\0';
	log_debug("libmicrohttpd: %s", text);
}

static void on_connection(void *userdata, struct MHD_Connection *mhd, void **context,
	enum MHD_ConnectionNotificationCode code)
{
	struct server *s = userdata;

	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		*context = visitor_new(s->handshakes, mhd);
	else
		*context = visitor_free(*context);
}

static struct visitor *visitor_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/* Those that do not read their answers give their slots back. */
static void shut_slow(struct server *s, uint64_t now)
{
	for (struct call *c = s->first; c; c = c->next)
		if (now > c->begun_us + ANSWER_US)
			visitor_shut(c->visitor);
}

static bool take_slot(struct server *s, struct call *c)
{
	uint64_t now = clock_now_us();
	bool ok;

	pthread_mutex_lock(&s->lock);
	shut_slow(s, now);
	ok = throttle_take(&s->throttle, now);
	if (ok) {
		c->has_slot = true;
		c->begun_us = now;
		c->next = s->first;
		s->first = c;
	}
	pthread_mutex_unlock(&s->lock);
	return ok;
}

static void note_sent(struct server *s, uint64_t bytes)
{
	pthread_mutex_lock(&s->lock);
	throttle_send(&s->throttle, bytes);
	s->sent += bytes;
	pthread_mutex_unlock(&s->lock);
}

uint64_t server_sent(const struct server *s)
{
	return s->sent;
}

static void on_end(void *userdata, struct MHD_Connection *mhd, void **context,
	enum MHD_RequestTerminationCode code)
{
	struct server *s = userdata;
	struct call *c = *context;

	if (!c)
		return;
	*context = NULL;
	pthread_mutex_lock(&s->lock);
	if (c->has_slot) {
		throttle_give_back(&s->throttle);
		for (struct call **link = &s->first; *link; link = &(*link)->next)
			if (*link == c) {
				*link = c->next;
				break;
			}
	}
	pthread_mutex_unlock(&s->lock);
	buffer_done(&c->body);
	free(c);
}

/* Takes the response (NULL: there is no memory for one). */
static enum MHD_Result queue(
	struct MHD_Connection *mhd, unsigned int status, struct MHD_Response *response)
{
	enum MHD_Result r = MHD_NO;

	if (response)
		r = MHD_queue_response(mhd, status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result answer_short(
	struct MHD_Connection *mhd, unsigned int status, const char *why)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		strlen(why), (void *)(uintptr_t)why, MHD_RESPMEM_PERSISTENT);

	if (response && status == MHD_HTTP_SERVICE_UNAVAILABLE)
		MHD_add_response_header(response, "Retry-After", "1");
	return queue(mhd, status, response);
}

static enum MHD_Result answer_nothing(struct MHD_Connection *mhd)
{
	return answer_short(mhd, MHD_HTTP_NO_CONTENT, "");
}

static enum MHD_Result answer_missing(struct MHD_Connection *mhd)
{
	return answer_short(mhd, MHD_HTTP_NOT_FOUND, "not here\n");
}

static enum MHD_Result answer_busy(struct MHD_Connection *mhd)
{
	return answer_short(mhd, MHD_HTTP_SERVICE_UNAVAILABLE, "busy\n");
}

/* Takes the bytes, which came from malloc(3). */
static enum MHD_Result answer_bytes(struct server *s, struct MHD_Connection *mhd, void *bytes,
	size_t length, const char *type, bool immutable)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(length, bytes, MHD_RESPMEM_MUST_FREE);

	if (!response) {
		free(bytes);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type", type);
	if (immutable)
		MHD_add_response_header(response, "Cache-Control", IMMUTABLE);
	note_sent(s, length);
	return queue(mhd, MHD_HTTP_OK, response);
}

/* A buffer whose bytes begin where its memory does. */
static enum MHD_Result answer_buffer(struct server *s, struct MHD_Connection *mhd, struct buffer *b,
	const char *type, bool immutable)
{
	enum MHD_Result r;
	void *bytes = b->data;

	if (b->start > 0)
		memmove(b->data, b->data + b->start, b->len);
	r = answer_bytes(s, mhd, bytes, b->len, type, immutable);
	*b = (struct buffer){0};
	return r;
}

static enum MHD_Result get_chunk(
	struct server *s, struct MHD_Connection *mhd, struct call *c, const char *name)
{
	struct buffer packed AUTO(buffer_done) = {0};
	struct holding *h AUTO(holding_unrefp) = NULL;
	uint8_t id[CHUNK_ID_SIZE];
	uint32_t chunk = 0;

	/* "xxxx/ID.cacnk" */
	if (strlen(name) != CHUNK_PATH_SIZE - 1 || name[4] != '/' ||
		strncmp(name, name + 5, 4) != 0 || chunk_parse_name(name + 5, id) < 0)
		return answer_missing(mhd);
	if (!take_slot(s, c))
		return answer_busy(mhd);
	h = holdings_find_chunk(s->holdings, id, &chunk);
	if (!h || holding_read_chunk(h, chunk, &packed) < 0)
		return answer_missing(mhd);
	return answer_buffer(s, mhd, &packed, "application/octet-stream", true);
}

/* Is it "HEX" and `end`? */
static bool parse_name(const char *name, const char *end, char ret[DIGEST_HEX_SIZE])
{
	size_t n = strlen(name);

	if (n != DIGEST_HEX_SIZE - 1 + strlen(end) || !streq(name + DIGEST_HEX_SIZE - 1, end))
		return false;
	snprintf(ret, DIGEST_HEX_SIZE, "%.*s", DIGEST_HEX_SIZE - 1, name);
	return digest_is_hex(ret);
}

static enum MHD_Result get_index(
	struct server *s, struct MHD_Connection *mhd, struct call *c, const char *name)
{
	struct holding *h AUTO(holding_unrefp) = NULL;
	char blob[DIGEST_HEX_SIZE], *bytes;
	size_t length;

	if (!parse_name(name, ".caibx", blob))
		return answer_missing(mhd);
	if (!take_slot(s, c))
		return answer_busy(mhd);
	h = holdings_find_blob(s->holdings, blob);
	if (!h || holding_read_index(h, &bytes, &length) < 0)
		return answer_missing(mhd);
	return answer_bytes(s, mhd, bytes, length, "application/octet-stream", true);
}

static enum MHD_Result get_manifest(
	struct server *s, struct MHD_Connection *mhd, struct call *c, const char *name)
{
	struct holding *h AUTO(holding_unrefp) = NULL;
	char image[DIGEST_HEX_SIZE], *bytes;
	size_t length;

	if (!parse_name(name, ".json", image))
		return answer_missing(mhd);
	if (!take_slot(s, c))
		return answer_busy(mhd);
	h = holdings_find_manifest(s->holdings, image);
	if (!h || holding_read_manifest(h, &bytes, &length) < 0)
		return answer_missing(mhd);
	return answer_bytes(s, mhd, bytes, length, "application/json", true);
}

/* Packs what was chosen behind the head, which tells how long each one has become. */
static int make_answer(
	const struct holding *h, const uint32_t *chunks, size_t count, struct buffer *ret)
{
	struct buffer packed AUTO(buffer_done) = {0};
	struct pick_row rows[PICK_CHUNKS_MAX];
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		size_t before = packed.len;

		r = holding_read_chunk(h, chunks[i], &packed);
		rows[i] = (struct pick_row){chunks[i], (uint32_t)(packed.len - before)};
	}
	if (r == 0)
		r = pick_format_answer(rows, count, ret);
	return r < 0 ? r : buffer_append(ret, buffer_head(&packed), packed.len);
}

static enum MHD_Result post_pick(struct server *s, struct MHD_Connection *mhd, struct call *c)
{
	struct buffer answer AUTO(buffer_done) = {0};
	struct holding *h AUTO(holding_unrefp) = NULL;
	uint32_t chunks[PICK_CHUNKS_MAX];
	struct pick pick;
	size_t count;

	if (c->too_long || pick_parse(buffer_head(&c->body), c->body.len, &pick) < 0)
		return answer_short(mhd, MHD_HTTP_BAD_REQUEST, "this is no pick\n");
	h = holdings_find_index(s->holdings, pick.index);
	if (!h)
		return answer_missing(mhd);
	if (!take_slot(s, c))
		return answer_busy(mhd);
	count = holding_pick(h, &pick, chunks, PICK_CHUNKS_MAX);
	if (count == 0)
		return answer_nothing(mhd);
	if (make_answer(h, chunks, count, &answer) < 0)
		return answer_short(mhd, MHD_HTTP_INTERNAL_SERVER_ERROR, "cannot read it\n");
	return answer_buffer(s, mhd, &answer, "application/octet-stream", false);
}

static enum MHD_Result answer(struct server *s, struct MHD_Connection *mhd, struct call *c,
	const char *url, const char *method)
{
	static const struct {
		const char *prefix;
		enum MHD_Result (*get)(struct server *s, struct MHD_Connection *mhd, struct call *c,
			const char *name);
	} routes[] = {
		{"/chunks/", get_chunk}, {"/index/", get_index}, {"/manifest/", get_manifest}};

	if (!visitor_is_node(c->visitor))
		return answer_short(mhd, MHD_HTTP_FORBIDDEN,
			"only nodes of this site are served, by their certificates\n");
	if (streq(url, "/pick") && streq(method, "POST"))
		return post_pick(s, mhd, c);
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		const char *name = str_after(url, routes[i].prefix);

		if (name && (streq(method, "GET") || streq(method, "HEAD")))
			return routes[i].get(s, mhd, c, name);
		if (name)
			return answer_short(mhd, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
	}
	return answer_missing(mhd);
}

static void take_body(struct call *c, const char *data, size_t length)
{
	if (length > PICK_REQUEST_MAX - c->body.len || buffer_append(&c->body, data, length) < 0)
		c->too_long = true;
}

static enum MHD_Result on_call(void *userdata, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *data, size_t *data_length,
	void **context)
{
	struct call *c = *context;

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return MHD_NO;
		c->visitor = visitor_of(mhd);
		*context = c;
		return MHD_YES;
	}
	if (*data_length > 0) {
		/* Nobody needs to be heard out who has no right, or no measure. */
		if (c->too_long || !visitor_is_node(c->visitor))
			return MHD_NO;
		take_body(c, data, *data_length);
		*data_length = 0;
		return MHD_YES;
	}
	return answer(userdata, mhd, c, url, method);
}

static int start(struct server *s, int fd, char *authority, struct error *err)
{
	static char priorities[] = PRIORITIES;
	unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
			     MHD_USE_ERROR_LOG | MHD_USE_TLS;

	s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_call, s, MHD_OPTION_EXTERNAL_LOGGER,
		on_message, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_end, s,
		MHD_OPTION_HTTPS_CERT_CALLBACK, tls_give_certificate, MHD_OPTION_HTTPS_PRIORITIES,
		priorities, MHD_OPTION_HTTPS_MEM_TRUST, authority, MHD_OPTION_THREAD_POOL_SIZE,
		(unsigned int)THREADS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MAX,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned int)EACH_ADDRESS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_S, MHD_OPTION_STRICT_FOR_CLIENT,
		1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	return s->daemon ? 0 : fail(err, -EIO, "cannot start to serve other nodes");
}

int server_new(const struct server_options *options, struct server **ret, struct error *err)
{
	struct server *s AUTO(server_freep) = calloc(1, sizeof(*s));
	const struct credential *credential = options->credential;
	int fd, r;

	if (!s)
		return fail(err, -ENOMEM, "out of memory");
	pthread_mutex_init(&s->lock, NULL);
	s->holdings = options->holdings;
	throttle_init(&s->throttle, options->slots, options->rate_bytes, clock_now_us());
	r = handshakes_new(&s->handshakes, err);
	if (r == 0)
		r = tls_set_certificate(credential->certificate, credential->key, err);
	if (r < 0)
		return r;
	fd = listener_open_address(options->listen, err);
	if (fd < 0)
		return fd;
	r = start(s, fd, credential->ca, err);
	if (r < 0) {
		base_close(fd);
		return r;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

struct server *server_free(struct server *s)
{
	if (!s)
		return NULL;
	handshakes_end(s->handshakes);
	if (s->daemon)
		MHD_stop_daemon(s->daemon);
	handshakes_free(s->handshakes);
	tls_done();
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
