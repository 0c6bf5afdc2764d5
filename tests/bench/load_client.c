#include "load_client.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/un.h>

#include "lib/clock.h"

#define EVENTS_MAX   256
#define IN_FIRST     1024
#define IN_MAX       (64 << 20)
#define REQUEST_HEAD "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n%s%s\r\n"

static int resolve(const char *host, const char *port, struct load_target *ret, struct error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	int r = getaddrinfo(host, port, &hints, &found);

	if (r != 0)
		return fail(err, -ENOENT, "'%s:%s': %s", host, port, gai_strerror(r));
	memcpy(&ret->address, found->ai_addr, found->ai_addrlen);
	ret->length = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

int load_target_parse(const char *text, struct load_target *ret, struct error *err)
{
	const char *path = str_after(text, "unix:"), *name = str_after(text, "https://");
	struct sockaddr_un *local = (struct sockaddr_un *)&ret->address;
	const char *colon = name ? strrchr(name, ':') : NULL;

	*ret = (struct load_target){.host = "localhost"};
	if (path && strlen(path) < sizeof(local->sun_path)) {
		local->sun_family = AF_UNIX;
		memcpy(local->sun_path, path, strlen(path) + 1);
		ret->length = sizeof(*local);
		return 0;
	}
	if (!colon)
		return fail(err, -EINVAL, "'%s' is neither unix:/PATH nor https://HOST:PORT", text);
	ret->tls = true;
	snprintf(ret->host, sizeof(ret->host), "%.*s", (int)(colon - name), name);
	return resolve(ret->host, colon + 1, ret, err);
}

/* Tickets come after the handshake. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct load_client *c = SSL_get_app_data(ssl);

	SSL_SESSION_free(c->session);
	c->session = session;
	return 1;
}

int load_loop_init(struct load_loop *l, const char *ca, struct error *err)
{
	*l = (struct load_loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	l->tls = SSL_CTX_new(TLS_client_method());
	if (l->epoll < 0 || !l->tls)
		return fail(err, -ENOMEM, "cannot make a loop");
	/* Idle connections keep no buffers. */
	SSL_CTX_set_mode(l->tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(l->tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(l->tls, on_session);
	if (!ca)
		return 0;
	if (SSL_CTX_load_verify_locations(l->tls, ca, NULL) != 1)
		return fail(err, -EBADMSG, "'%s': no certificate", ca);
	SSL_CTX_set_verify(l->tls, SSL_VERIFY_PEER, NULL);
	return 0;
}

void load_loop_done(struct load_loop *l)
{
	SSL_CTX_free(l->tls);
	base_close(l->epoll);
}

static void close_connection(struct load_client *c)
{
	/* Else OpenSSL takes its session for a bad one. */
	if (c->ssl)
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(c->ssl);
	c->ssl = NULL;
	c->fd = c->state == LOAD_CLOSED ? -1 : base_close(c->fd);
	c->state = LOAD_CLOSED;
	c->closing = false;
}

/* The request is over: whoever is told may send another. */
static void finish(struct load_client *c, const struct load_answer *answer)
{
	c->out_length = 0;
	c->on_answer(c, answer);
}

void load_client_fail(struct load_client *c, const char *reason)
{
	bool waited = load_client_is_busy(c);

	close_connection(c);
	if (waited)
		finish(c, &(struct load_answer){.reason = reason});
}

static const char *find_header(const char *head, const char *end, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = head; (line = memchr(line, '\n', (size_t)(end - line)));) {
		line++;
		if ((size_t)(end - line) > n && strncasecmp(line, name, n) == 0)
			return line + n + strspn(line + n, " ");
	}
	return NULL;
}

/* Returns true with an answer that is whole. */
static bool parse_answer(struct load_client *c, struct load_answer *ret)
{
	const char *end = memmem(c->in, c->in_length, "\r\n\r\n", 4);
	const char *length, *connection;

	if (!end)
		return false;
	end += 4;
	length = find_header(c->in, end, "content-length:");
	connection = find_header(c->in, end, "connection:");
	*ret = (struct load_answer){.status = atoi(c->in + strlen("HTTP/1.1 ")),
		.body = end,
		.length = length ? strtoul(length, NULL, 10) : 0};
	c->closing = c->once || (connection && tolower((unsigned char)*connection) == 'c');
	return (size_t)(end - c->in) + ret->length <= c->in_length;
}

/* As read(2) and write(2), with -EAGAIN. */
static ssize_t fail_tls(SSL *ssl, int r)
{
	int code = SSL_get_error(ssl, r);

	if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	ERR_clear_error();
	return code == SSL_ERROR_ZERO_RETURN ? 0 : -ECONNRESET;
}

static ssize_t receive(struct load_client *c)
{
	size_t space;
	ssize_t n;

	if (c->in_size - c->in_length < IN_FIRST) {
		c->in_size = MAX_OF(2 * c->in_size, (size_t)IN_FIRST * 2);
		c->in = c->in_size < IN_MAX ? realloc(c->in, c->in_size) : NULL;
		if (!c->in)
			abort();
	}
	space = c->in_size - c->in_length;
	if (c->ssl) {
		n = SSL_read(c->ssl, c->in + c->in_length, (int)space);
		n = n > 0 ? n : fail_tls(c->ssl, (int)n);
	} else {
		n = read(c->fd, c->in + c->in_length, space);
		n = n < 0 ? -errno : n;
	}
	if (n > 0)
		c->in_length += (size_t)n;
	return n;
}

static ssize_t transmit(struct load_client *c)
{
	const char *data = c->out + c->out_done;
	size_t left = c->out_length - c->out_done;
	ssize_t n;

	if (c->ssl) {
		n = SSL_write(c->ssl, data, (int)left);
		n = n > 0 ? n : fail_tls(c->ssl, (int)n);
	} else {
		n = send(c->fd, data, left, MSG_NOSIGNAL);
		n = n < 0 ? -errno : n;
	}
	if (n > 0)
		c->out_done += (size_t)n;
	return n;
}

static bool begin_tls(struct load_client *c)
{
	c->ssl = SSL_new(c->loop->tls);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
		return false;
	SSL_set_app_data(c->ssl, c);
	SSL_set_connect_state(c->ssl);
	if (c->session)
		SSL_set_session(c->ssl, c->session);
	SSL_ctrl(c->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
		(void *)(uintptr_t)c->target->host);
	return !c->certificate || (SSL_use_certificate(c->ssl, c->certificate) == 1 &&
					  SSL_use_PrivateKey(c->ssl, c->key) == 1);
}

/* Each of these returns whether there is more to do now. */
static bool step_connecting(struct load_client *c)
{
	int code = 0;
	socklen_t size = sizeof(code);
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0 || code != 0) {
		load_client_fail(c, "the connection is refused");
		return true;
	}
	if (getpeername(c->fd, (struct sockaddr *)&peer, &length) < 0)
		return false;
	c->state = c->target->tls ? LOAD_HANDSHAKE : LOAD_READY;
	if (c->target->tls && !begin_tls(c))
		load_client_fail(c, "TLS cannot begin");
	return true;
}

static bool step_handshake(struct load_client *c)
{
	int r = SSL_do_handshake(c->ssl);

	if (r == 1) {
		c->loop->handshakes++;
		c->loop->resumed += SSL_session_reused(c->ssl) != 0;
		c->state = LOAD_READY;
		return true;
	}
	if (fail_tls(c->ssl, r) == -EAGAIN)
		return false;
	load_client_fail(c, "the TLS handshake has failed");
	return true;
}

/* What comes without having been asked for is the end of the connection, or TLS's own. */
static bool step_ready(struct load_client *c)
{
	ssize_t n;

	if (load_client_is_busy(c)) {
		c->state = LOAD_SENDING;
		c->out_done = 0;
		c->in_length = 0;
		return true;
	}
	n = receive(c);
	c->in_length = 0;
	if (n != -EAGAIN)
		close_connection(c);
	return false;
}

static bool step_sending(struct load_client *c)
{
	ssize_t n = transmit(c);

	if (n == -EAGAIN)
		return false;
	if (n <= 0)
		load_client_fail(c, "the connection was lost while sending");
	else if (c->out_done == c->out_length)
		c->state = LOAD_RECEIVING;
	return true;
}

static bool step_receiving(struct load_client *c)
{
	struct load_answer answer;
	ssize_t n = receive(c);

	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		load_client_fail(c, "the connection was lost before the answer");
		return true;
	}
	if (!parse_answer(c, &answer))
		return true;
	c->state = LOAD_READY;
	if (c->closing)
		close_connection(c);
	finish(c, &answer);
	return true;
}

static bool open_connection(struct load_client *c)
{
	int one = 1, family = c->target->address.ss_family;
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};

	c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		abort();
	c->state = LOAD_CONNECTING;
	if (family != AF_UNIX)
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if ((connect(c->fd, (const struct sockaddr *)&c->target->address, c->target->length) < 0 &&
		    errno != EINPROGRESS) ||
		epoll_ctl(c->loop->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
		load_client_fail(c, "the connection is refused");
	return true;
}

static bool step_closed(struct load_client *c)
{
	return load_client_is_busy(c) && open_connection(c);
}

static void step(struct load_client *c)
{
	static bool (*const steps[])(struct load_client *) = {
		[LOAD_CLOSED] = step_closed,
		[LOAD_CONNECTING] = step_connecting,
		[LOAD_HANDSHAKE] = step_handshake,
		[LOAD_READY] = step_ready,
		[LOAD_SENDING] = step_sending,
		[LOAD_RECEIVING] = step_receiving,
	};

	if (c->stepping)
		return;
	c->stepping = true;
	while (steps[c->state](c))
		;
	c->stepping = false;
}

void load_loop_wait(struct load_loop *l, int ms)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(l->epoll, events, EVENTS_MAX, ms);

	for (int i = 0; i < n; i++)
		step(events[i].data.ptr);
}

void load_client_send(struct load_client *c, const char *method, const char *path, const char *body,
	size_t length)
{
	size_t need =
		strlen(path) + length + 2 * LOAD_HEADER_MAX + (c->header ? strlen(c->header) : 0);
	int n;

	/* It may have been closed meanwhile. */
	if (c->state == LOAD_READY)
		step(c);
	if (c->out_size < need) {
		c->out_size = need;
		free(c->out);
		c->out = malloc(need);
		if (!c->out)
			abort();
	}
	n = snprintf(c->out, c->out_size, REQUEST_HEAD, method, path, c->target->host, length,
		c->header ? c->header : "", body ? "Content-Type: application/json\r\n" : "");
	memcpy(c->out + n, body ? body : "", length);
	c->out_length = (size_t)n + length;
	c->began_us = clock_now_us();
	step(c);
}

void load_client_done(struct load_client *c)
{
	close_connection(c);
	SSL_SESSION_free(c->session);
	free(c->out);
	free(c->in);
}
