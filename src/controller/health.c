#include "controller/health.h"

#include "config.h"
#include "lib/log.h"

/* The reason is for the log: anybody may ask. */
static const char *check_database(struct sql *db)
{
	struct error err = {0};
	int64_t one = 0;

	if (!db)
		return "not reached";
	if (sql_get_number(db, &err, &one, "SELECT 1") > 0)
		return "ok";
	log_debug("the database: %s", err.text);
	return "failed";
}

static int run_health(struct exchange *x, struct sql *db)
{
	const char *database = check_database(db);
	bool ok = streq(database, "ok");

	if (!ok)
		x->retry_after_s = 1;
	return exchange_answer(x, ok ? 200 : 503,
		json_pack("{s:s, s:s, s:s}", "status", ok ? "ok" : "failed", "database", database,
			"version", WNODES_VERSION));
}

const struct route health_routes[] = {
	{"GET", "/healthz", ROUTE_PLAIN, ROLE_ANYONE, "Says whether the controller serves",
		.run = run_health},
	{NULL},
};
