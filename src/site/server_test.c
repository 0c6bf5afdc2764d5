#include "site/server_test.h"

#include <arpa/inet.h>
#include <assert.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/path.h"

#define DAY (24L * 3600)

static EVP_PKEY *ca_key, *other_key;
static X509 *ca, *other;

static X509 *make_certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
	const char *san, long from, long until)
{
	X509 *x = X509_new();
	X509_NAME *n = X509_get_subject_name(x);
	X509_EXTENSION *e;

	ASN1_INTEGER_set(X509_get_serialNumber(x), random());
	X509_set_version(x, 2);
	X509_gmtime_adj(X509_getm_notBefore(x), from);
	X509_gmtime_adj(X509_getm_notAfter(x), until);
	X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
	X509_set_pubkey(x, key);
	if (san) {
		e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
		X509_add_ext(x, e, -1);
		X509_EXTENSION_free(e);
	}
	if (!issuer) {
		e = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
		X509_add_ext(x, e, -1);
		X509_EXTENSION_free(e);
	}
	assert(X509_sign(x, issuer_key, EVP_sha256()) > 0);
	return x;
}

static void write_pem(const char *directory, const char *name, X509 *x, EVP_PKEY *key)
{
	autofree char *path = path_format("%s/%s", directory, name);
	FILE *f = fopen(path, "we");

	assert(f);
	if (x)
		PEM_write_X509(f, x);
	if (key)
		PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

void server_prepare(const char *directory)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x;

	if (!ca) {
		ca_key = EVP_EC_gen("P-256");
		other_key = EVP_EC_gen("P-256");
		ca = make_certificate("site", ca_key, NULL, ca_key, NULL, -DAY, DAY);
		other = make_certificate("other", other_key, NULL, other_key, NULL, -DAY, DAY);
	}
	x = make_certificate("n1", key, ca, ca_key, NULL, -DAY, DAY);
	write_pem(directory, "ca.pem", ca, NULL);
	write_pem(directory, "client.pem", x, NULL);
	write_pem(directory, "client.key", NULL, key);
	X509_free(x);
	EVP_PKEY_free(key);
}

static SSL_CTX *make_tls(enum server_certificate kind)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	bool strange = kind == SERVER_OTHER_CA;
	X509 *x = make_certificate("controller", key, strange ? other : ca,
		strange ? other_key : ca_key,
		kind == SERVER_OTHER_NAME ? "DNS:elsewhere.example" : "DNS:localhost", -2 * DAY,
		kind == SERVER_EXPIRED ? -DAY : DAY);

	assert(SSL_CTX_use_certificate(tls, x) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1);
	X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), ca);
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_id_context(tls, (const unsigned char *)"test", 4);
	X509_free(x);
	EVP_PKEY_free(key);
	return tls;
}

static bool wait_for(const struct server *s, int fd)
{
	struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = s->stop[0], .events = POLLIN}};

	return poll(p, 2, 20000) > 0 && p[1].revents == 0;
}

/* Until the header's end and what Content-Length says behind it. */
static bool read_request(struct server *s, int fd, SSL *ssl)
{
	size_t n = 0;

	memset(s->request, 0, sizeof(s->request));
	while (n < sizeof(s->request) - 1) {
		char *into = s->request + n, *end = strstr(s->request, "\r\n\r\n");
		const char *length = strcasestr(s->request, "\r\nContent-Length: ");
		size_t want = length && length < end ? strtoul(length + 18, NULL, 10) : 0;
		int r;

		if (end && n >= (size_t)(end + 4 - s->request) + want)
			return true;
		if ((!ssl || SSL_pending(ssl) == 0) && !wait_for(s, fd))
			return false;
		r = ssl ? SSL_read(ssl, into, (int)(sizeof(s->request) - 1 - n))
			: (int)read(fd, into, sizeof(s->request) - 1 - n);
		if (r <= 0)
			return false;
		n += (size_t)r;
	}
	return false;
}

static bool say(int fd, SSL *ssl, const char *text)
{
	int n = (int)strlen(text);

	if (n == 0)
		return true;
	return (ssl ? SSL_write(ssl, text, n) : (int)send(fd, text, (size_t)n, MSG_NOSIGNAL)) == n;
}

static void note_peer(struct server *s, SSL *ssl)
{
	X509 *x = ssl ? SSL_get1_peer_certificate(ssl) : NULL;

	s->peer[0] = '\0';
	if (x)
		X509_NAME_get_text_by_NID(
			X509_get_subject_name(x), NID_commonName, s->peer, sizeof(s->peer));
	X509_free(x);
}

static void answer(struct server *s, int fd, SSL *ssl)
{
	const struct reply *reply = s->replies;
	size_t times;
	bool goes_on;

	for (int i = 0; i < s->requests && (reply[1].head || reply[1].hang); i++)
		reply++;
	s->requests++;
	note_peer(s, ssl);
	if (reply->hang)
		wait_for(s, s->stop[0]);
	if (reply->hang || !reply->head)
		return;
	times = reply->repeat ? reply->repeat : reply->body ? 1 : 0;
	goes_on = say(fd, ssl, "HTTP/1.1 ") && say(fd, ssl, reply->head) &&
		  say(fd, ssl, "Connection: close\r\n\r\n");
	while (goes_on && times-- > 0)
		goes_on = say(fd, ssl, reply->body);
}

static void serve(struct server *s, int fd)
{
	struct timeval patience = {.tv_sec = 5};
	SSL *ssl = s->tls ? SSL_new(s->tls) : NULL;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (ssl)
		SSL_set_fd(ssl, fd);
	if ((!ssl || SSL_accept(ssl) == 1) && read_request(s, fd, ssl)) {
		answer(s, fd, ssl);
		if (ssl)
			SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	close(fd);
}

static void *run(void *userdata)
{
	struct server *s = userdata;

	while (wait_for(s, s->fd)) {
		int fd = accept(s->fd, NULL, NULL);

		if (fd >= 0)
			serve(s, fd);
	}
	return NULL;
}

static void listen_tcp(struct server *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(a);

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(bind(s->fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(s->fd, 8) == 0);
	assert(getsockname(s->fd, (struct sockaddr *)&a, &length) == 0);
	snprintf(s->address, sizeof(s->address), "https://localhost:%d", ntohs(a.sin_port));
}

static void listen_unix(struct server *s, const char *directory)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%p", directory, (void *)s);
	unlink(a.sun_path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(bind(s->fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(s->fd, 8) == 0);
	snprintf(s->address, sizeof(s->address), "unix:%s", a.sun_path);
}

void server_start(struct server *s, const char *directory)
{
	if (s->certificate == SERVER_PLAIN)
		listen_unix(s, directory);
	else
		listen_tcp(s);
	s->tls = s->certificate == SERVER_PLAIN ? NULL : make_tls(s->certificate);
	assert(pipe(s->stop) == 0);
	assert(pthread_create(&s->thread, NULL, run, s) == 0);
}

void server_stop(struct server *s)
{
	assert(write(s->stop[1], "x", 1) == 1);
	pthread_join(s->thread, NULL);
	SSL_CTX_free(s->tls);
	close(s->fd);
	close(s->stop[0]);
	close(s->stop[1]);
}
