#include "controller/controller.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "controller/budget.h"
#include "controller/connection.h"
#include "controller/edition.h"
#include "controller/guess.h"
#include "controller/housekeeping.h"
#include "controller/identity.h"
#include "controller/journal.h"
#include "controller/metrics.h"
#include "controller/privileges.h"
#include "controller/reader.h"
#include "controller/request.h"
#include "controller/roster.h"
#include "controller/schema.h"
#include "controller/server.h"
#include "controller/stock.h"
#include "controller/stream.h"
#include "controller/worker.h"
#include "controller/writer.h"
#include "depot/depot.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/timestamp.h"
#include "serve/tls.h"

/* How long requests that were begun have at the end. */
#define END_US (5 * UINT64_C(1000000))

/* How long all of the end may take: a file system or a database that hangs is not waited for. Well
 * below what systemd gives. */
#define CLOSE_MAX_S 30

/* How often a database without which nothing can begin is looked for. */
#define DATABASE_PAUSE_S 1

static int load_settings(struct controller *c, struct error *err)
{
	struct controller_settings *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return fail(err, -ENOMEM, "out of memory");
	r = controller_settings_load(s, c->config, err);
	if (r < 0) {
		free(s);
		return r;
	}
	journal_set(s->log_format, s->log_level);
	c->settings = s;
	return 0;
}

static void block_signals(sigset_t *ret)
{
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGHUP);
	sigprocmask(SIG_BLOCK, ret, NULL);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	controller_reload(userdata);
	return 0;
}

static int open_loop(struct controller *c, struct error *err)
{
	int r = sd_event_new(&c->event);

	if (r >= 0)
		r = sd_event_add_signal(c->event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(c->event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(c->event, NULL, SIGHUP, on_reload, c);
	if (r >= 0)
		r = sd_event_set_watchdog(c->event, true);
	return r < 0 ? fail_errno(err, r, "cannot set up the event loop") : 0;
}

/* The tables are made, and the certificate. Returns -EAGAIN if the database is needed and does not
 * answer. */
static int prepare(struct controller *c, struct error *err)
{
	const struct controller_settings *s = controller_get_settings(c);
	struct sql *db AUTO(sql_freep) = NULL;
	int r = sql_open(s->database, &db, err);

	if (r == 0)
		r = schema_upgrade(db, err);
	if (r == -ENOTCONN)
		db = sql_free(db);
	else if (r < 0)
		return r;
	r = credential_load(s, db, timestamp_now_us(), &c->credential, err);
	return r < 0 ? r : tls_set_certificate(c->credential.certificate, c->credential.key, err);
}

/* A server that starts after us is waited for. */
static int prepare_patiently(struct controller *c, const sigset_t *signals, struct error *err)
{
	const struct timespec pause = {.tv_sec = DATABASE_PAUSE_S};
	bool told = false;
	int r;

	while ((r = prepare(c, err)) == -EAGAIN) {
		int signal;

		if (!told)
			log_warning("%s; waiting for it", err->text);
		told = true;
		signal = sigtimedwait(signals, NULL, &pause);
		if (signal == SIGTERM || signal == SIGINT)
			return fail(err, -EINTR, "told to end");
	}
	return r;
}

/* A site goes on without: its images are had from their nodes then, and from other origins. */
static int open_depot(struct controller *c, struct error *err)
{
	const struct controller_settings *s = controller_get_settings(c);
	autofree char *path =
		streq(s->depot, "auto") ? path_format("%s/depot", s->state) : strdup(s->depot);
	struct error why = {0};

	c->budget = budget_new();
	c->stocks = stocks_new((size_t)s->depot_slots);
	c->depot_temporary = path ? path_format("%s/tmp", path) : NULL;
	if (!c->budget || !c->stocks || !c->depot_temporary)
		return fail(err, -ENOMEM, "out of memory");
	if (!streq(path, "none") && depot_open(path, true, &c->depot, &why) < 0)
		log_warning("%s; there is no depot until the next start", why.text);
	return worker_new(&c->worker, err);
}

static int open_parts(struct controller *c, struct error *err)
{
	const struct controller_settings *s = controller_get_settings(c);
	int r;

	c->connections = connections_new();
	c->requests = requests_new();
	c->guesses = guesses_new();
	c->metrics = metrics_new();
	c->identity = identity_new();
	c->editions = editions_new();
	c->rosters = rosters_new();
	if (!c->editions || !c->rosters || !c->connections || !c->requests || !c->guesses ||
		!c->metrics || !c->identity)
		return fail(err, -ENOMEM, "out of memory");
	r = writer_new(s->database, &c->writer, err);
	if (r == 0)
		r = open_depot(c, err);
	if (r == 0)
		r = streams_new(s->database, (size_t)s->streams, &c->streams, err);
	if (r == 0)
		r = housekeeping_new(c, &c->housekeeping, err);
	return r < 0 ? r : server_new(c, c->credential.ca, &c->server, err);
}

int controller_open(struct controller *c, const char *config, struct error *err)
{
	sigset_t signals;
	int r;

	c->config = config;
	/* It is not safe to let threads begin with it. */
	json_object_seed(0);
	r = load_settings(c, err);
	if (r == 0)
		r = privileges_drop(controller_get_settings(c), err);
	if (r < 0)
		return r;
	block_signals(&signals);
	r = open_loop(c, err);
	if (r == 0)
		r = prepare_patiently(c, &signals, err);
	return r < 0 ? r : open_parts(c, err);
}

static void tell_addresses(const struct controller *c)
{
	const struct controller_settings *s = controller_get_settings(c);

	for (char **address = s->listen; *address; address++)
		log_info("listens on %s", *address);
	if (!streq(s->socket, "none"))
		log_info("listens on %s", s->socket);
}

int controller_run(struct controller *c)
{
	int r;

	tell_addresses(c);
	sd_notify(false, "READY=1");
	r = sd_event_loop(c->event);
	sd_notify(false, "STOPPING=1");
	return MIN_OF(r, 0);
}

static void free_settings(struct controller *c)
{
	struct controller_settings *s = c->settings;

	while (s) {
		struct controller_settings *before = s->before;

		controller_settings_done(s);
		free(s);
		s = before;
	}
}

/* Whoever is killed leaves a sound depot, and what was answered is on the disk. */
static void on_alarm(int signal)
{
	static const char text[] = "wnodes-controller: the end takes too long, what is still being "
				   "written is left as it is\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

void controller_close(struct controller *c)
{
	signal(SIGALRM, on_alarm);
	alarm(CLOSE_MAX_S);
	housekeeping_stop(c->housekeeping);
	if (c->server) {
		server_quiesce(c->server);
		streams_end(c->streams);
		requests_end(c->requests, END_US);
	}
	/* What it has is done, and its clients are answered. Others may still ask for its numbers.
	 */
	worker_end(c->worker);
	writer_end(c->writer);
	server_free(c->server);
	worker_free(c->worker);
	writer_free(c->writer);
	stocks_free(c->stocks);
	editions_free(c->editions);
	rosters_free(c->rosters);
	depot_free(c->depot);
	budget_free(c->budget);
	free(c->depot_temporary);
	streams_free(c->streams);
	housekeeping_free(c->housekeeping);
	metrics_free(c->metrics);
	requests_free(c->requests);
	guesses_free(c->guesses);
	connections_free(c->connections);
	identity_free(c->identity);
	tls_done();
	credential_done(&c->credential);
	sd_event_unref(c->event);
	free_settings(c);
	alarm(0);
}

void controller_renew_credential(struct controller *c)
{
	const struct controller_settings *s = controller_get_settings(c);
	struct credential fresh = {0};
	struct error err = {0};
	struct sql *db;
	int r;

	reader_get(s->database, &db, &err);
	r = credential_load(s, db, timestamp_now_us(), &fresh, &err);
	if (r == 0 && !credential_equals(&fresh, &c->credential)) {
		r = tls_set_certificate(fresh.certificate, fresh.key, &err);
		if (r == 0) {
			struct credential before = c->credential;

			c->credential = fresh;
			fresh = before;
			log_info("shows another certificate");
		}
	}
	if (r < 0)
		log_warning("%s; the certificate from before is shown", err.text);
	credential_done(&fresh);
}

void controller_reload(struct controller *c)
{
	struct controller_settings *fresh = calloc(1, sizeof(*fresh));
	struct error err = {0};
	int r;

	sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
	r = fresh ? controller_settings_load(fresh, c->config, &err)
		  : fail(&err, -ENOMEM, "out of memory");
	if (r == 0)
		r = controller_settings_keep(fresh, c->settings, &err);
	if (r < 0) {
		log_warning("%s; the settings stay as they were", err.text);
		free(fresh);
	} else {
		fresh->before = c->settings;
		c->settings = fresh;
		journal_set(fresh->log_format, fresh->log_level);
		controller_renew_credential(c);
		log_info("has read its settings again");
	}
	sd_notify(false, "READY=1");
}

int controller_check(const char *config, struct error *err)
{
	struct controller_settings s;
	struct sql *db = NULL;
	int r = controller_settings_load(&s, config, err);

	if (r < 0)
		return r;
	printf("settings: good\n");
	r = sql_open(s.database, &db, err);
	if (r == 0)
		r = schema_find(db, err);
	if (r > schema_version())
		r = fail(err, -EPROTO,
			"the database is of a newer WNoDeS: version %d of the tables", r);
	else if (r >= 0)
		printf("database: %s\n", r == 0 ? "empty" : "good");
	sql_free(db);
	controller_settings_done(&s);
	return MIN_OF(r, 0);
}
