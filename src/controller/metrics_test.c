#include "controller/metrics.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "controller/connection.h"
#include "controller/controller.h"
#include "controller/stock.h"
#include "controller/stream.h"
#include "controller/writer.h"
#include "lib/file.h"

#define PREFIX "wnodes_controller_http_request"
#define LABELS "{method=\"GET\",route=\"/v1/things\""

static const struct route things[] = {
	{"PUT", "/v1/things", ROUTE_WRITE, ROLE_USER, "Makes one"},
	{"GET", "/v1/things", ROUTE_READ, ROLE_USER, "Lists things"},
	{NULL},
};
const struct route *const route_tables[] = {things, NULL};

/* A controller that has just what numbers are about. */
static void with_controller(void (*check)(struct controller *c, const char *url))
{
	char directory[] = "/tmp/wnodes-metrics.XXXXXX", url[64];
	struct controller c = {0};
	struct error err = {0};

	assert_non_null(mkdtemp(directory));
	snprintf(url, sizeof(url), "sqlite:%s/db", directory);
	c.metrics = metrics_new();
	c.connections = connections_new();
	c.stocks = stocks_new(8);
	assert_int_equal(writer_new(url, &c.writer, &err), 0);
	assert_int_equal(streams_new(url, 1, &c.streams, &err), 0);
	check(&c, url);
	streams_free(c.streams);
	writer_free(c.writer);
	stocks_free(c.stocks);
	connections_free(c.connections);
	metrics_free(c.metrics);
	assert_int_equal(file_remove_tree(AT_FDCWD, directory), 0);
}

static void assert_has(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no '%s' in:\n%s", line, text);
}

static void check_counts(struct controller *c, const char *url)
{
	const struct exchange good = {.route = &things[1], .status = 200};
	const struct exchange odd = {.route = &things[1], .status = 299};
	const struct exchange nowhere = {.status = 404};
	char *text;

	metrics_count(c->metrics, &good, 400);
	metrics_count(c->metrics, &good, 2000);
	metrics_count(c->metrics, &odd, 60000000);
	metrics_count(c->metrics, &nowhere, 1);
	text = metrics_format(c->metrics, c, NULL);
	assert_non_null(text);
	assert_has(text, PREFIX "s_total" LABELS ",status=\"200\"} 2\n");
	assert_has(text, PREFIX "s_total" LABELS ",status=\"other\"} 1\n");
	assert_has(text, PREFIX "s_total{method=\"\",route=\"\",status=\"404\"} 1\n");
	assert_has(text, PREFIX "_duration_seconds_bucket" LABELS ",le=\"0.0005\"} 1\n");
	assert_has(text, PREFIX "_duration_seconds_bucket" LABELS ",le=\"0.0025\"} 2\n");
	assert_has(text, PREFIX "_duration_seconds_bucket" LABELS ",le=\"+Inf\"} 3\n");
	assert_has(text, PREFIX "_duration_seconds_count" LABELS "} 3\n");
	assert_has(text, PREFIX "_duration_seconds_sum" LABELS "} 60.002400\n");
	assert_null(strstr(text, "PUT"));
	free(text);
}

static void requests_are_counted_by_route_and_status(void **state)
{
	with_controller(check_counts);
}

static void check_site(struct controller *c, const char *url)
{
	struct sql *db = NULL;
	struct error err = {0};
	char *text;

	assert_int_equal(sql_open(url, &db, &err), 0);
	assert_int_equal(sql_script(db,
				 "CREATE TABLE node (state TEXT);\n"
				 "CREATE TABLE vm (id TEXT);\n"
				 "CREATE TABLE pool (name TEXT, size BIGINT);\n"
				 "CREATE TABLE lease (pool TEXT);\n"
				 "INSERT INTO node VALUES ('up'), ('up'), ('lost');\n"
				 "INSERT INTO pool VALUES ('a\"\\', 7);\n"
				 "INSERT INTO lease VALUES ('a\"\\'), ('other');\n",
				 &err),
		0);
	text = metrics_format(c->metrics, c, db);
	assert_non_null(text);
	assert_has(text, "wnodes_controller_nodes{state=\"up\"} 2\n");
	assert_has(text, "wnodes_controller_vms 0\n");
	assert_has(text, "wnodes_controller_pool_size{pool=\"a\\\"\\\\\"} 7\n");
	assert_has(text, "wnodes_controller_pool_used{pool=\"a\\\"\\\\\"} 1\n");
	free(text);
	sql_free(db);
	/* What was known is told while the database is away. */
	text = metrics_format(c->metrics, c, NULL);
	assert_has(text, "wnodes_controller_nodes{state=\"lost\"} 1\n");
	free(text);
}

static void the_site_is_counted_in_the_database(void **state)
{
	with_controller(check_site);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_counted_by_route_and_status),
		cmocka_unit_test(the_site_is_counted_in_the_database),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
