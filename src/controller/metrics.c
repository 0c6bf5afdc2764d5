#include "controller/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "config.h"
#include "controller/connection.h"
#include "controller/controller.h"
#include "controller/stock.h"
#include "controller/stream.h"
#include "controller/writer.h"
#include "lib/clock.h"

/* Routes that are counted on their own, and what was found to be none. */
#define ROUTES_MAX 128

/* How long what was read in the database is good for. */
#define SITE_US 5000000

#define PREFIX "wnodes_controller_"

static const int statuses[] = {200, 201, 204, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415, 422,
	428, 429, 500, 501, 503, 507, 0 /* any other */};

/* Upper bounds of the histogram's buckets; the last is all. */
static const uint64_t bounds_us[] = {500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
	500000, 1000000, 2500000, 10000000, UINT64_MAX};

struct counts {
	_Atomic(uint64_t) status[ARRAY_SIZE(statuses)];
	_Atomic(uint64_t) bucket[ARRAY_SIZE(bounds_us)];
	_Atomic(uint64_t) sum_us;
};

struct metrics {
	struct counts routes[ROUTES_MAX]; /* the first is of what is no route */
	uint64_t started_us;
	pthread_mutex_t lock; /* of the text */
	char *site;           /* what was read in the database; NULL: nothing yet */
	uint64_t read_us;
};

struct metrics *metrics_new(void)
{
	struct metrics *m = calloc(1, sizeof(*m));

	if (m) {
		pthread_mutex_init(&m->lock, NULL);
		m->started_us = clock_now_us();
	}
	return m;
}

struct metrics *metrics_free(struct metrics *m)
{
	if (!m)
		return NULL;
	pthread_mutex_destroy(&m->lock);
	free(m->site);
	free(m);
	return NULL;
}

static size_t count_rows(const struct route *table)
{
	size_t n = 0;

	while (table[n].method)
		n++;
	return n;
}

/* Routes are numbered from 1 on, in the order of the tables. */
static size_t number_of(const struct route *route)
{
	size_t number = 1;

	for (const struct route *const *table = route_tables; *table; table++) {
		for (size_t i = 0; (*table)[i].method; i++)
			if (&(*table)[i] == route)
				return number + i < ROUTES_MAX ? number + i : 0;
		number += count_rows(*table);
	}
	return 0;
}

void metrics_count(struct metrics *m, const struct exchange *x, uint64_t duration_us)
{
	struct counts *c = &m->routes[number_of(x->route)];
	size_t status = 0, bucket = 0;

	while (statuses[status] && statuses[status] != x->status)
		status++;
	while (duration_us > bounds_us[bucket])
		bucket++;
	c->status[status]++;
	c->bucket[bucket]++;
	c->sum_us += duration_us;
}

static void help(FILE *out, const char *name, const char *type, const char *text)
{
	fprintf(out, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, text, name, type);
}

static void one(FILE *out, const char *name, const char *type, const char *text, uint64_t value)
{
	help(out, name, type, text);
	fprintf(out, PREFIX "%s %" PRIu64 "\n", name, value);
}

static void each(const struct metrics *m, FILE *out,
	void (*print)(FILE *out, const struct counts *c, const char *method, const char *path))
{
	size_t number = 1;

	print(out, &m->routes[0], "", "");
	for (const struct route *const *table = route_tables; *table; table++)
		for (const struct route *r = *table; r->method && number < ROUTES_MAX; r++)
			print(out, &m->routes[number++], r->method, r->path);
}

static void print_statuses(FILE *out, const struct counts *c, const char *method, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		uint64_t n = c->status[i];
		char status[16] = "other";

		if (n == 0)
			continue;
		if (statuses[i])
			snprintf(status, sizeof(status), "%d", statuses[i]);
		fprintf(out,
			PREFIX "http_requests_total{method=\"%s\",route=\"%s\",status=\"%s\"} "
			       "%" PRIu64 "\n",
			method, path, status, n);
	}
}

#define DURATION PREFIX "http_request_duration_seconds"

static void print_durations(FILE *out, const struct counts *c, const char *method, const char *path)
{
	uint64_t total = 0;
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(bounds_us); i++)
		any = any || c->bucket[i] > 0;
	for (size_t i = 0; any && i < ARRAY_SIZE(bounds_us); i++) {
		char bound[32] = "+Inf";

		total += c->bucket[i];
		if (bounds_us[i] != UINT64_MAX)
			snprintf(bound, sizeof(bound), "%g", (double)bounds_us[i] / 1e6);
		fprintf(out, DURATION "_bucket{method=\"%s\",route=\"%s\",le=\"%s\"} %" PRIu64 "\n",
			method, path, bound, total);
	}
	if (any)
		fprintf(out,
			DURATION "_sum{method=\"%s\",route=\"%s\"} %.6f\n" DURATION
				 "_count{method=\"%s\",route=\"%s\"} %" PRIu64 "\n",
			method, path, (double)c->sum_us / 1e6, method, path, total);
}

static void print_requests(const struct metrics *m, FILE *out)
{
	help(out, "http_requests_total", "counter", "Requests that were answered.");
	each(m, out, print_statuses);
	help(out, "http_request_duration_seconds", "histogram",
		"Time from a request's headers to the end of its answer.");
	each(m, out, print_durations);
}

static void print_controller(const struct metrics *m, const struct controller *c, FILE *out)
{
	struct writer_usage usage;
	struct stocks_usage given;
	size_t all, busy;

	connections_count(c->connections, &all, &busy);
	writer_get_usage(c->writer, &usage);
	stocks_get_usage(c->stocks, &given);
	help(out, "build_info", "gauge", "The program that runs.");
	fprintf(out, PREFIX "build_info{version=\"%s\"} 1\n", WNODES_VERSION);
	one(out, "uptime_seconds", "gauge", "How long the program runs.",
		(clock_now_us() - m->started_us) / 1000000);
	one(out, "connections", "gauge", "Connections of clients.", all);
	one(out, "connections_busy", "gauge", "Connections that are being answered.", busy);
	one(out, "streams", "gauge", "Streams of events.", streams_count(c->streams));
	one(out, "pick_slots", "gauge",
		"Answers with chunks of the depot that may be sent at a time.", given.slots);
	one(out, "pick_slots_taken", "gauge", "Those that are being sent.", given.taken);
	one(out, "pick_bytes_total", "counter", "Bytes of such answers.", given.sent);
	one(out, "pick_indexes", "gauge", "Indexes of which is known what was given.",
		given.stocks);
	one(out, "writer_queue", "gauge", "Changes that wait.", usage.queued);
	one(out, "writer_jobs_total", "counter", "Changes that were made.", usage.jobs);
	one(out, "writer_transactions_total", "counter", "Transactions that they took.",
		usage.transactions);
	one(out, "writer_retries_total", "counter", "Transactions that were tried again.",
		usage.retries);
}

/* A label's value, whose '"', '\' and line feeds are escaped. */
static void print_label(FILE *out, const char *value)
{
	for (; value && *value; value++)
		if (*value == '"' || *value == '\\')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value == '\n' ? ' ' : *value, out);
}

static void print_row(
	FILE *out, const char *name, const char *label, const struct sql_rows *rows, int column)
{
	fprintf(out, PREFIX "%s{%s=\"", name, label);
	print_label(out, sql_rows_text(rows, 0));
	fprintf(out, "\"} %" PRId64 "\n", sql_rows_number(rows, column));
}

static int print_nodes(struct sql *db, FILE *out, struct error *err)
{
	struct sql_rows *rows AUTO(sql_rows_freep) = NULL;
	int r = sql_select(
		db, err, &rows, "SELECT state, count(*) FROM node GROUP BY state ORDER BY 1");

	help(out, "nodes", "gauge", "Nodes, by their state.");
	while (r >= 0 && (r = sql_rows_next(rows, err)) > 0)
		print_row(out, "nodes", "state", rows, 1);
	return r;
}

static int print_vms(struct sql *db, FILE *out, struct error *err)
{
	int64_t count = 0;
	int r = sql_get_number(db, err, &count, "SELECT count(*) FROM vm");

	one(out, "vms", "gauge", "Virtual machines that nodes have told of.", (uint64_t)count);
	return r;
}

static int print_pools(struct sql *db, FILE *out, struct error *err)
{
	static const struct {
		const char *name, *help;
	} columns[] = {
		{"pool_size", "Names and addresses that a pool has."},
		{"pool_used", "Those of them that are lent."},
	};
	int r = 0;

	for (int i = 0; r >= 0 && i < (int)ARRAY_SIZE(columns); i++) {
		struct sql_rows *rows AUTO(sql_rows_freep) = NULL;

		help(out, columns[i].name, "gauge", columns[i].help);
		r = sql_select(db, err, &rows,
			"SELECT name, size, (SELECT count(*) FROM lease WHERE lease.pool = pool.name)"
			" FROM pool ORDER BY name");
		while (r >= 0 && (r = sql_rows_next(rows, err)) > 0)
			print_row(out, columns[i].name, "pool", rows, i + 1);
	}
	return r;
}

static char *site_format(struct sql *db)
{
	struct error err = {0};
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	int r;

	if (!out)
		return NULL;
	r = print_nodes(db, out, &err);
	if (r >= 0)
		r = print_vms(db, out, &err);
	if (r >= 0)
		r = print_pools(db, out, &err);
	if (fclose(out) == 0 && r >= 0)
		return text;
	free(text);
	return NULL;
}

/* With the lock. */
static void site_read(struct metrics *m, struct sql *db)
{
	uint64_t now = clock_now_us();
	char *fresh;

	if (m->site && now - m->read_us < SITE_US)
		return;
	fresh = site_format(db);
	if (!fresh)
		return;
	free(m->site);
	m->site = fresh;
	m->read_us = now;
}

char *metrics_format(struct metrics *m, const struct controller *c, struct sql *db)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return NULL;
	print_controller(m, c, out);
	print_requests(m, out);
	pthread_mutex_lock(&m->lock);
	if (db)
		site_read(m, db);
	if (m->site)
		fputs(m->site, out);
	pthread_mutex_unlock(&m->lock);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static int run_metrics(struct exchange *x, struct sql *db)
{
	x->text = metrics_format(x->controller->metrics, x->controller, db);
	if (!x->text)
		return exchange_fail(x, 500, "the controller is out of memory");
	x->status = 200;
	return x->status;
}

static bool is_open(const struct controller *c)
{
	return controller_get_settings(c)->metrics_open;
}

const struct route metrics_routes[] = {
	{"GET", "/metrics", ROUTE_PLAIN, ROLE_USER | ROLE_NODE,
		"Shows numbers about the controller and its site, for Prometheus",
		.is_open = is_open, .answer_type = "text/plain; version=0.0.4; charset=utf-8",
		.run = run_metrics},
	{NULL},
};
