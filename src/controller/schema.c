#include "controller/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "controller/schema_1.h"
#include "controller/schema_2.h"
#include "controller/schema_3.h"

/* By version, from the first on. */
static const char *const texts[] = {SCHEMA_1, SCHEMA_2, SCHEMA_3};

static const struct schema_steps schema = {texts, ARRAY_SIZE(texts)};

int schema_version(void)
{
	return schema.count;
}

int schema_find(struct sql *db, struct error *err)
{
	int64_t version = 0;
	int r = sql_count_tables(db, NULL, err);

	if (r <= 0)
		return r;
	r = sql_count_tables(db, "site", err);
	if (r > 0)
		r = sql_get_number(
			db, err, &version, "SELECT value FROM site WHERE name = 'schema'");
	if (r < 0)
		return r;
	if (r == 0 || version <= 0 || version > INT32_MAX)
		return fail(err, -EBADMSG,
			"the database has tables, but not those of a controller; name an empty "
			"database for it");
	return (int)version;
}

static int set_version(struct sql *db, int version, struct error *err)
{
	char text[16];
	int r;

	snprintf(text, sizeof(text), "%d", version);
	r = sql_change(db, err,
		"INSERT INTO site (name, value) VALUES ('schema', ?1)"
		" ON CONFLICT (name) DO UPDATE SET value = excluded.value",
		sql_text(text));
	return MIN_OF(r, 0);
}

static int upgrade(struct sql *db, const struct schema_steps *steps, struct error *err)
{
	int version = schema_find(db, err), r = 0;

	if (version < 0 || version == steps->count)
		return MIN_OF(version, 0);
	if (version > steps->count)
		return fail(err, -EPROTO,
			"the database's tables are of version %d, this wnodes-controller knows "
			"those up to %d; install the newer one on this machine, too",
			version, steps->count);
	for (; version < steps->count && r == 0; version++)
		r = sql_script(db, steps->texts[version], err);
	if (r < 0)
		return fail_within(err, "cannot make the tables of version %d", version);
	return set_version(db, steps->count, err);
}

int schema_upgrade_to(struct sql *db, const struct schema_steps *steps, struct error *err)
{
	int r = sql_begin_patient(db, err);

	if (r < 0)
		return r;
	r = upgrade(db, steps, err);
	if (r < 0) {
		sql_rollback(db);
		return r;
	}
	return sql_commit(db, err);
}

int schema_upgrade(struct sql *db, struct error *err)
{
	return schema_upgrade_to(db, &schema, err);
}

int schema_make(struct sql *db, struct error *err)
{
	return upgrade(db, &schema, err);
}
