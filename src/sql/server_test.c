#include "sql/server_test.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/child.h"
#include "lib/file.h"

#include <cmocka.h>

#define SCRIPT_TIMEOUT_MS 120000

#ifdef HAVE_LIBPQ
#define HAVE_SERVER true
#else
#define HAVE_SERVER false
#endif

static char top[] = "/tmp/sql-test.XXXXXX";
static char server[64], server_url[256], directory[64], url[256];
static bool is_limited;

/* up.sh, and "--while" with this process' number; or a script with nothing but the directory. */
static int run_script(const char *name, const char *holder, char *ret, size_t size)
{
	const char *const alone[] = {name, server, NULL};
	const char *const held[] = {name, "--while", holder, server, NULL};
	struct child_spec spec = CHILD_SPEC_INIT;
	autofree char *out = NULL;
	struct error err = {0};

	spec.argv = holder ? held : alone;
	if (child_output(&spec, SCRIPT_TIMEOUT_MS, 4096, &out, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return strstr(err.text, "status 77") ? -ENOENT : -EIO;
	}
	snprintf(ret, size, "%.*s", (int)strcspn(out, "\n"), out);
	return 0;
}

int server_test_up(void **state)
{
	char pid[16];
	int r;

	/* The server may be another user's. */
	if (!mkdtemp(top) || chmod(top, 0711) < 0)
		return -1;
	snprintf(server, sizeof(server), "%s/server", top);
	snprintf(pid, sizeof(pid), "%d", getpid());
	snprintf(directory, sizeof(directory), "%s/test", top);
	r = HAVE_SERVER ? run_script(POSTGRES_SCRIPTS "/up.sh", pid, server_url, sizeof(server_url))
			: -ENOENT;
	return r == -ENOENT ? 0 : r;
}

int server_test_down(void **state)
{
	char text[64];

	run_script(POSTGRES_SCRIPTS "/down.sh", NULL, text, sizeof(text));
	return file_remove_tree(AT_FDCWD, top);
}

const char *server_test_directory(void)
{
	return directory;
}

static void empty_server(void)
{
	struct sql *db AUTO(sql_freep) = NULL;
	struct error err = {0};

	if (sql_open(server_url, &db, &err) < 0 ||
		sql_change_once(db, &err, "DROP SCHEMA public CASCADE", NULL, 0) < 0 ||
		sql_change_once(db, &err, "CREATE SCHEMA public", NULL, 0) < 0)
		fail_msg("%s", err.text);
}

int server_test_setup(void **state)
{
	return mkdir(directory, 0700);
}

int server_test_teardown(void **state)
{
	if (is_limited)
		umount2(directory, MNT_DETACH);
	is_limited = false;
	return file_remove_tree(AT_FDCWD, directory);
}

const char *server_test_url(void **state)
{
	enum sql_kind kind = **(enum sql_kind **)state;

	if (kind == SQL_SQLITE) {
		snprintf(url, sizeof(url), "sqlite:%s/site.db", directory);
		return url;
	}
	if (!server_url[0]) {
		print_message("there is no PostgreSQL server\n");
		skip();
	}
	empty_server();
	return server_url;
}

/* The numbers in a file; 0 after the last. */
static void read_pids(const char *path, pid_t *ret, size_t max)
{
	autofree char *text = NULL;
	char *at, *end;
	size_t length, n = 0;

	assert_int_equal(file_read(AT_FDCWD, path, 4096, &text, &length), 0);
	for (at = text; n + 1 < max && (ret[n] = (pid_t)strtol(at, &end, 10)) > 0; n++)
		at = end;
	ret[n] = 0;
}

void server_test_kill(void)
{
	char path[128];
	pid_t pids[100];

	snprintf(path, sizeof(path), "%s/data/postmaster.pid", server);
	read_pids(path, pids, 2);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pids[0], pids[0]);
	assert_int_equal(kill(pids[0], SIGSTOP), 0); /* it starts no more */
	read_pids(path, pids + 1, ARRAY_SIZE(pids) - 1);
	for (size_t i = 0; pids[i]; i++)
		kill(pids[i], SIGKILL);
}

void server_test_start(void)
{
	assert_int_equal(
		run_script(POSTGRES_SCRIPTS "/up.sh", NULL, server_url, sizeof(server_url)), 0);
}

struct sql *server_test_open(const char *of)
{
	struct sql *db = NULL;
	struct error err = {0};

	if (sql_open(of, &db, &err) < 0)
		fail_msg("%s", err.text);
	return db;
}

int64_t server_test_number(const char *of, const char *text)
{
	struct sql *db AUTO(sql_freep) = server_test_open(of);
	struct error err = {0};
	int64_t number = -1;

	if (sql_get_number_values(db, &err, &number, text, NULL, 0) < 0)
		fail_msg("%s", err.text);
	return number;
}

bool server_test_limit(unsigned int kib)
{
	char options[32];

	snprintf(options, sizeof(options), "size=%uk", kib);
	is_limited = mount("none", directory, "tmpfs", 0, options) == 0;
	return is_limited;
}
