#include "controller/migrate.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include "controller/schema.h"
#include "sql/server_test.h"

#include <cmocka.h>

static struct error err;

static void good(int r)
{
	if (r < 0)
		fail_msg("%s", err.text);
}

/* Numbers from 0 to below N, for INSERT. */
#define COUNT(n)                                                                            \
	" WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i + 1 < " #n \
	") SELECT "

/* Some tables have more than a page, one exactly a page; and there are NULLs. */
static const char *const rows[] = {
	"INSERT INTO site (name, value) VALUES ('id', 'it''s \"?1\" \xc3\xa4')",
	"INSERT INTO hostgroup (name, description, revision)" COUNT(
		3) "'group ' || i, '', i FROM c",
	"INSERT INTO role (id, subject, role, hostgroup, granted_by, granted)" COUNT(
		2) "'role' || i, 'user:you', 'endorser', 'g' || i, 'root', i FROM c",
	"INSERT INTO token (id, hash, kind, name, hostgroup, roles, created_by, created, expires,"
	" used)" COUNT(5) "'id' || i, 'hash' || i, 'join', '', '', '[]', 'root', 1, 2, 0 FROM c",
	"INSERT INTO certificate (serial, node, issued, not_after, revoked, reason)" COUNT(
		1000) "'serial' || i, 'node', i, 9000000000000000, 0, '' FROM c",
	"INSERT INTO node (name, hostgroup, state, reason, version, status_json, vms, memory_bytes,"
	" cpus, joined, seen, state_since, autonomous, config_seen, revision, wish)" COUNT(
		4) "'n' || i, '', 'up', '', '1', '{\"a\": [1]}', 1, 1, 1, 1, 1, 1, 0, '', 1,"
		   " CASE WHEN i = 2 THEN 1 END FROM c",
	"INSERT INTO vm (id, name, node, state, username, uid, job, image, digest, cpus,"
	" memory_bytes, started, updated)" COUNT(
		2500) "'vm' || i, 'x', 'n1', 'running', 'you', 1000,"
		      " CASE WHEN i % 2 = 0 THEN 'slurm.1' END, '', '', 1, 1, 1, 1 FROM c",
	"INSERT INTO pool (name, vlan, domain, host_pattern, first_address, mac_prefix, prefix,"
	" gateway, nameservers_json, size, created, revision) VALUES"
	" ('p', 1, '', 'wn-%04d', '10.0.0.1', '52:54:01', 16, '', '[]', 2100, 1, 1)",
	"INSERT INTO place (pool, number, name, mac, address, vlan, lease, released)" COUNT(
		2100) "'p' || (i % 2), i / 2, 'wn-' || i, 'mac' || i, 'address' || i, 1,"
		      " CASE WHEN i = 7 THEN 'lease' END, 0 FROM c",
	"INSERT INTO lease (id, pool, number, name, mac, address, vlan, node, given, revision)"
	" VALUES ('lease', 'p', 7, 'wn-7', 'mac7', 'address7', 1, 'n1', 1, 1)",
	"INSERT INTO record (id, sequence, received, ended, started, month, node, username,"
	" wall_us, cpu_us, cpus, memory_bytes, body_json)" COUNT(
		1001) "'r' || i, 2 * i + 1, 1, 1, 1, '2026-11', 'n1', 'you', 1, 1, 1, 1, '{}'"
		      " FROM c",
	"INSERT INTO event (sequence, time, kind, subject, actor, detail_json)" COUNT(
		3000) "i, 1, 'node.up', 'node:n1', '', '{}' FROM c",
	"INSERT INTO image (digest, name, tag, state, private, owner, os, size, parts_json,"
	" published, endorsed_by, endorsed, approved_by, approved, expires, state_since,"
	" changed_by, reason, revision)" COUNT(
		7) "'d' || i, 'el9', '', 'approved', 0, 'eve', '', 1, '[]', 1, '', 0, '', 0, 0, 1,"
		   " 'eve', '', 1 FROM c",
	"INSERT INTO image_tag (reference, name, tag, owner, private, digest, previous, moved,"
	" moved_by, revision) VALUES ('el9:latest', 'el9', 'latest', '', 0, 'd1', NULL, 1, '', 1)",
	"INSERT INTO image_history (sequence, time, action, digest, name, actor, reason,"
	" detail_json)" COUNT(
		1200) "i, 1, 'approved', 'd1', 'el9', 'user:eve', 'it''s good', '{}' FROM c",
	"INSERT INTO porter (node, address, rack, told, seen)"
	" VALUES ('n1', 'https://n1:8444', 'r1', '', 1)",
	"INSERT INTO node_image (node, digest, state, done, reason, updated)" COUNT(
		2000) "'n' || (i % 40), 'd' || (i / 40), 'complete', 1000, '', 1 FROM c",
	"INSERT INTO peer_report (peer, node, chunk, reason, time)"
	" VALUES ('n1', 'n2', '', 'bad', 1)",
	"INSERT INTO staging (id, digest, reference, hostgroup, wave, reason, state, created_by,"
	" created, ended, revision) VALUES ('s', 'd1', 'el9', '', 8, '', 'done', 'root', 1, 2, 1)",
	"INSERT INTO staging_node (staging, node, state, reason, since)" COUNT(
		5) "'s', 'n' || i, 'done', '', 1 FROM c",
	"INSERT INTO volume (id, name, owner, node, size_bytes, state, reason, source, generation,"
	" created, state_since, revision)" COUNT(
		30) "'v' || i, 'data' || i, 'eve', 'n1', 1, 'available', '', '', 2, 1, 1, 1 FROM c",
	"INSERT INTO volume_store (node, address, free_bytes, seen) VALUES ('n1', 'n1', 5, 1)",
	"INSERT INTO attachment (id, volume, node, vm, username, read_only, generation, key, state,"
	" reason, port, given) VALUES ('a', 'v1', 'n2', 'x', 'eve', 0, 2, 'k', 'attached', '', 9, 1)",
};

static const struct {
	const char *name, *order;
	int64_t rows;
} tables[] = {
	{"site", "name", 2},
	{"hostgroup", "name", 3},
	{"role", "id", 2},
	{"token", "id", 5},
	{"certificate", "serial", 1000},
	{"node", "name", 4},
	{"vm", "id", 2500},
	{"job", "key", 0},
	{"pool", "name", 1},
	{"place", "pool, number", 2100},
	{"lease", "id", 1},
	{"record", "sequence", 1001},
	{"event", "sequence", 3000},
	{"configuration", "scope", 0},
	{"image", "digest", 7},
	{"image_tag", "reference", 1},
	{"image_history", "sequence", 1200},
	{"porter", "node", 1},
	{"node_image", "node, digest", 2000},
	{"peer_report", "peer, node", 1},
	{"staging", "id", 1},
	{"staging_node", "staging, node", 5},
	{"volume", "id", 30},
	{"volume_store", "node", 1},
	{"attachment", "id", 1},
};

static void fill(const char *url)
{
	struct sql *db AUTO(sql_freep) = server_test_open(url);

	good(schema_upgrade(db, &err));
	good(sql_begin(db, &err));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		good(sql_change_once(db, &err, rows[i], NULL, 0));
	good(sql_commit(db, &err));
}

static void compare_table(struct sql *a, struct sql *b, size_t table)
{
	struct sql_rows *old AUTO(sql_rows_freep) = NULL, *new AUTO(sql_rows_freep) = NULL;
	int64_t n = 0;
	char text[256];
	int r;

	snprintf(text, sizeof(text), "SELECT * FROM %s ORDER BY %s", tables[table].name,
		tables[table].order);
	good(sql_select_once(a, &err, &old, text, NULL, 0));
	good(sql_select_once(b, &err, &new, text, NULL, 0));
	for (; (r = sql_rows_next(old, &err)) > 0; n++) {
		assert_int_equal(sql_rows_next(new, &err), 1);
		for (int i = 0; i < sql_rows_count(old); i++) {
			assert_string_equal(sql_rows_name(old, i), sql_rows_name(new, i));
			assert_int_equal(sql_rows_is_null(old, i), sql_rows_is_null(new, i));
			if (!sql_rows_is_null(old, i))
				assert_string_equal(sql_rows_text(old, i), sql_rows_text(new, i));
		}
	}
	assert_int_equal(r, 0);
	assert_int_equal(sql_rows_next(new, &err), 0);
	assert_int_equal(n, tables[table].rows);
}

static void compare(const char *old, const char *new)
{
	struct sql *a AUTO(sql_freep) = server_test_open(old),
		      *b AUTO(sql_freep) = server_test_open(new);

	assert_int_equal(schema_find(b, &err), schema_version());
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		compare_table(a, b, i);
}

static const char *other_url(void)
{
	static char url[128];

	snprintf(url, sizeof(url), "sqlite:%s/other.db", server_test_directory());
	return url;
}

static void on_progress(const char *table, int64_t count, void *userdata)
{
	int64_t *total = userdata;

	*total = streq(table, "event") ? count : *total;
}

static void all_rows_arrive(void **state)
{
	const char *url = server_test_url(state);
	int64_t events = 0;

	fill(other_url());
	if (migrate_run(other_url(), url, on_progress, &events, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(events, 3000);
	compare(other_url(), url);
}

static void and_go_back(void **state)
{
	const char *url = server_test_url(state);

	fill(url);
	if (migrate_run(url, other_url(), NULL, NULL, &err) < 0)
		fail_msg("%s", err.text);
	compare(url, other_url());
}

static void what_is_not_empty_is_not_changed(void **state)
{
	const char *url = server_test_url(state);
	struct sql *db AUTO(sql_freep) = server_test_open(url);

	fill(other_url());
	good(schema_upgrade(db, &err));
	good(sql_change(db, &err,
		"INSERT INTO configuration (scope, text, changed_by, changed, revision)"
		" VALUES ('site', '', 'root', 1, 1)"));
	assert_int_equal(migrate_run(other_url(), url, NULL, NULL, &err), -ENOTEMPTY);
	assert_non_null(strstr(err.text, "configuration"));
	assert_int_equal(schema_find(db, &err), schema_version());
	assert_int_equal(server_test_number(url, "SELECT count(*) FROM event"), 0);
	/* Tables alone do no harm. */
	good(sql_change(db, &err, "DELETE FROM configuration"));
	good(migrate_run(other_url(), url, NULL, NULL, &err));
	compare(other_url(), url);
}

static void both_must_be_of_this_version(void **state)
{
	const char *url = server_test_url(state), *newer = "UPDATE site SET value = '99'";
	struct sql *db AUTO(sql_freep) = server_test_open(url);
	struct sql *other AUTO(sql_freep) = NULL;

	assert_int_equal(migrate_run(other_url(), url, NULL, NULL, &err), -ENOENT);
	assert_int_equal(migrate_run(url, other_url(), NULL, NULL, &err), -ENOENT);
	assert_int_equal(migrate_run(url, url, NULL, NULL, &err), -EINVAL);
	good(schema_upgrade(db, &err));
	good(sql_change_once(db, &err, newer, NULL, 0));
	assert_int_equal(migrate_run(url, other_url(), NULL, NULL, &err), -EPROTO);
	other = server_test_open(other_url());
	good(schema_upgrade(other, &err));
	assert_int_equal(migrate_run(other_url(), url, NULL, NULL, &err), -EPROTO);
	assert_non_null(strstr(err.text, "version 99"));
}

static void a_killed_copy_leaves_nothing(void **state)
{
	const char *url = server_test_url(state);
	int killed = 0, status;

	fill(other_url());
	for (int i = 0; i < 12; i++) {
		struct sql *db AUTO(sql_freep) = NULL;
		pid_t pid = fork();

		if (pid == 0)
			_exit(migrate_run(other_url(), url, NULL, NULL, &err) < 0);
		usleep((useconds_t)(10000 + 8000 * i));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		db = server_test_open(url);
		if (schema_find(db, &err) != 0)
			break;
		killed++;
	}
	assert_true(killed > 0);
	status = migrate_run(other_url(), url, NULL, NULL, &err);
	assert_true(status == 0 || status == -ENOTEMPTY);
	compare(other_url(), url);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(all_rows_arrive),
		SERVER_TEST(and_go_back),
		SERVER_TEST(what_is_not_empty_is_not_changed),
		SERVER_TEST(both_must_be_of_this_version),
		SERVER_TEST(a_killed_copy_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, server_test_up, server_test_down);
}
