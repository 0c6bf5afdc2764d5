#include "controller/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>

#include "controller/connection.h"
#include "controller/controller.h"
#include "controller/request.h"
#include "lib/log.h"
#include "serve/handshake.h"
#include "serve/listener.h"
#include "serve/tls.h"

/* What a connection takes: its headers fit in, and what is being read of a body. */
#define CONNECTION_BYTES (16 << 10)

#define THREADS_MAX_DEFAULT 4
#define DAEMONS_MAX         16
#define OPTIONS_MAX         32

#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct server {
	struct controller *controller;
	char *authority;
	struct handshakes *handshakes;
	struct MHD_Daemon *daemons[DAEMONS_MAX];
	size_t count;
	char *path; /* of the local socket; NULL: none */
};

struct options {
	struct MHD_OptionItem items[OPTIONS_MAX];
	size_t count;
};

static void add(struct options *o, enum MHD_OPTION option, intptr_t value, void *pointer)
{
	o->items[o->count++] = (struct MHD_OptionItem){option, value, pointer};
}

static void PRINTF(2, 0) on_message(void *userdata, const char *format, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\r\n")] = '\0';
	log_debug("libmicrohttpd: %s", text);
}

static void open_connection(struct server *s, struct MHD_Connection *mhd, void **context)
{
	struct controller *c = s->controller;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	int fd = info ? info->connect_fd : -1;
	gnutls_session_t session;
	struct connection *connection;

	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	session = info ? info->tls_session : NULL;
	connection = fd < 0 ? NULL
			    : connection_open(c->connections, fd, !session,
				      controller_get_settings(c)->user_connections);
	if (connection && session)
		connection_take_handshake(
			connection, handshake_new(s->handshakes, mhd, session, fd));
	*context = connection;
}

static void on_connection(void *userdata, struct MHD_Connection *mhd, void **context,
	enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		open_connection(userdata, mhd, context);
	else
		connection_close(TAKE_PTR(*context));
}

/* Paths are decoded by us, part by part. */
static size_t leave_encoded(void *userdata, struct MHD_Connection *connection, char *text)
{
	return strlen(text);
}

static unsigned int threads_of(const struct controller_settings *s)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (s->threads > 0)
		return (unsigned int)s->threads;
	return (unsigned int)MIN_OF(MAX_OF(cpus, 1), THREADS_MAX_DEFAULT);
}

static void add_limits(struct options *o, const struct controller_settings *s, bool tls)
{
	unsigned int threads = threads_of(s);
	uint64_t idle_s = (s->idle_time + s->request_time) / 1000000;

	if (threads > 1)
		add(o, MHD_OPTION_THREAD_POOL_SIZE, threads, NULL);
	add(o, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, NULL);
	add(o, MHD_OPTION_CONNECTION_LIMIT, (intptr_t)MAX_OF(s->connections, (uint64_t)threads),
		NULL);
	if (tls)
		add(o, MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)s->address_connections, NULL);
	/* The sweep is stricter, but for streams whose client does not read. */
	add(o, MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)idle_s, NULL);
}

static void add_callbacks(struct options *o, struct server *s)
{
	struct controller *c = s->controller;

	add(o, MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_message, NULL);
	add(o, MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, s);
	add(o, MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)request_on_target, c);
	add(o, MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)request_on_end, c);
	add(o, MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)leave_encoded, NULL);
	add(o, MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL);
	add(o, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL);
}

static void add_tls(struct options *o, char *authority)
{
	static char priorities[] = PRIORITIES;

	add(o, MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(intptr_t)tls_give_certificate);
	add(o, MHD_OPTION_HTTPS_PRIORITIES, 0, priorities);
	if (authority)
		add(o, MHD_OPTION_HTTPS_MEM_TRUST, 0, authority);
}

/* Takes the descriptor. */
static int start(struct server *s, int fd, bool tls, struct error *err)
{
	struct controller *c = s->controller;
	unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
			     MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0);
	struct options o = {.count = 0};
	struct MHD_Daemon *daemon;

	if (s->count == DAEMONS_MAX) {
		base_close(fd);
		return fail(err, -E2BIG, "more than %d addresses to listen on", DAEMONS_MAX - 1);
	}
	add_callbacks(&o, s);
	add(&o, MHD_OPTION_LISTEN_SOCKET, fd, NULL);
	add_limits(&o, controller_get_settings(c), tls);
	if (tls)
		add_tls(&o, s->authority);
	add(&o, MHD_OPTION_END, 0, NULL);
	daemon = MHD_start_daemon(flags, 0, NULL, NULL, request_on_call, c, MHD_OPTION_ARRAY,
		o.items, MHD_OPTION_END);
	if (!daemon) {
		base_close(fd);
		return fail(err, -EIO,
			"cannot start to serve; with log_level = debug, the log says why");
	}
	s->daemons[s->count++] = daemon;
	return 0;
}

static int start_local(struct server *s, const char *path, struct error *err)
{
	int fd = listener_open_path(path, err);

	if (fd < 0)
		return fd;
	s->path = strdup(path);
	if (!s->path) {
		base_close(fd);
		return fail(err, -ENOMEM, "out of memory");
	}
	return start(s, fd, false, err);
}

int server_new(struct controller *c, const char *authority, struct server **ret, struct error *err)
{
	const struct controller_settings *settings = controller_get_settings(c);
	struct server *s AUTO(server_freep) = calloc(1, sizeof(*s));
	int r = 0;

	if (!s || (authority && !(s->authority = strdup(authority))))
		return fail(err, -ENOMEM, "out of memory");
	s->controller = c;
	r = handshakes_new(&s->handshakes, err);
	for (char **address = settings->listen; *address && r == 0; address++) {
		int fd = listener_open_address(*address, err);

		r = fd < 0 ? fd : start(s, fd, true, err);
	}
	if (r == 0 && !streq(settings->socket, "none"))
		r = start_local(s, settings->socket, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

void server_quiesce(struct server *s)
{
	/* First, so that another one can take its place. */
	if (s->path)
		unlink(s->path);
	for (size_t i = 0; i < s->count; i++)
		base_close(MHD_quiesce_daemon(s->daemons[i]));
}

struct server *server_free(struct server *s)
{
	if (!s)
		return NULL;
	handshakes_end(s->handshakes);
	for (size_t i = 0; i < s->count; i++)
		MHD_stop_daemon(s->daemons[i]);
	handshakes_free(s->handshakes);
	free(s->authority);
	free(s->path);
	free(s);
	return NULL;
}
