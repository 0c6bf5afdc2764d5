#include "controller/pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "controller/body.h"
#include "controller/event.h"
#include "controller/place.h"
#include "controller/statement.h"

#define NAMESERVERS_MAX 8

/* Places that one statement makes: 32 * 7 values. */
#define CHUNK 32

static const struct listing_column columns[] = {
	{"name", "pool.name", LISTING_TEXT, true, "Its name"},
	{"vlan", "pool.vlan", LISTING_NUMBER, true, "Number of its VLAN; 0: none"},
	{"domain", "pool.domain", LISTING_TEXT, true, "Domain of its host names"},
	{"host_pattern", "pool.host_pattern", LISTING_TEXT, false,
		"What host names are made by: 'wn-%04d'"},
	{"first_address", "pool.first_address", LISTING_TEXT, false, "Address of the first place"},
	{"prefix", "pool.prefix", LISTING_NUMBER, false, "Bits of the network"},
	{"gateway", "pool.gateway", LISTING_TEXT, false, "Gateway of the network"},
	{"nameservers", "pool.nameservers_json", LISTING_JSON, false, "Addresses of name servers"},
	{"mac_prefix", "pool.mac_prefix", LISTING_TEXT, false, "What its MAC addresses begin with"},
	{"size", "pool.size", LISTING_NUMBER, false, "Places that there are"},
	{"used", "(SELECT count(*) FROM lease WHERE lease.pool = pool.name)", LISTING_NUMBER, false,
		"Places that are lent"},
	{"created", "pool.created", LISTING_TIME, false, "When it was made"},
	{"revision", "pool.revision", LISTING_NUMBER, false, "Its ETag"},
	{.name = NULL},
};

const struct listing pool_listing = {
	.noun = "pool",
	.table = "pool",
	.columns = columns,
	.revision = "pool.revision",
};

struct wish {
	struct place_rule rule;
	uint64_t vlan;
	json_t *nameservers;
};

#define FIELD(name, type, member, min, max, required, help)                               \
	{                                                                                 \
		name, type, offsetof(struct wish, member), min, max, required, NULL, help \
	}

static const struct field wish_fields[] = {
	FIELD("vlan", FIELD_NUMBER, vlan, 0, 4094, true, "Number of the VLAN; 0: none"),
	FIELD("domain", FIELD_TEXT, rule.domain, 0, PLACE_NAME_MAX, false,
		"Domain of the host names"),
	FIELD("host_pattern", FIELD_TEXT, rule.host_pattern, 0, PLACE_PATTERN_MAX, true,
		"What host names are made by; the number stands once in it, as in 'wn-%04d'"),
	FIELD("first_address", FIELD_TEXT, rule.first_address, 0, PLACE_ADDRESS_MAX, true,
		"IPv4 address of the first place; the others follow"),
	FIELD("size", FIELD_NUMBER, rule.size, 1, PLACE_COUNT_MAX, true,
		"How many places there are; it may grow later"),
	FIELD("prefix", FIELD_NUMBER, rule.prefix, 8, 30, true, "Bits of the network"),
	FIELD("gateway", FIELD_TEXT, rule.gateway, 0, PLACE_ADDRESS_MAX, false,
		"Gateway of the network"),
	FIELD("nameservers", FIELD_LIST, nameservers, 0, NAMESERVERS_MAX, false,
		"Addresses of name servers"),
	FIELD("mac_prefix", FIELD_TEXT, rule.mac_prefix, 0, PLACE_MAC_MAX, true,
		"What MAC addresses begin with: three to five bytes, unicast and locally "
		"administered, as in '52:54:01'"),
	{.name = NULL},
};

static int check_nameservers(const json_t *list, struct error *err)
{
	struct in6_addr unused;
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);

		if (!text || (inet_pton(AF_INET, text, &unused) != 1 &&
				     inet_pton(AF_INET6, text, &unused) != 1))
			return fail(err, -EINVAL, "'nameservers' are not all addresses");
	}
	return 0;
}

/* Makes places from `from` on to the last of the rule. */
static int make_places(
	struct sql *db, const char *pool, const struct wish *wish, uint64_t from, struct error *err)
{
	struct place place;
	int r = 0;

	while (r >= 0 && from <= wish->rule.size) {
		struct statement s AUTO(statement_done) = {0};

		statement_add(&s, "INSERT INTO place (pool, number, name, mac, address, vlan,"
				  " released) VALUES ");
		for (int i = 0; i < CHUNK && from <= wish->rule.size; i++, from++) {
			place_make(&wish->rule, from, &place);
			statement_add(&s, i ? ", (" : "(");
			statement_add_value(&s, sql_text(pool));
			statement_add(&s, ", ");
			statement_add_value(&s, sql_number((int64_t)from));
			statement_add(&s, ", ");
			statement_add_copy(&s, place.name);
			statement_add(&s, ", ");
			statement_add_copy(&s, place.mac);
			statement_add(&s, ", ");
			statement_add_copy(&s, place.address);
			statement_add(&s, ", ");
			statement_add_value(&s, sql_number((int64_t)wish->vlan));
			statement_add(&s, ", 0)");
		}
		r = statement_change(&s, db, err);
	}
	return MIN_OF(r, 0);
}

/* Answers with the pool as it is now. */
static int answer(struct exchange *x, struct sql *db, int status)
{
	struct error err = {0};
	int64_t revision;
	json_t *row;
	int r = listing_get(db, &pool_listing, x->params[0], &row, &revision, &err);

	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (r == 0)
		return exchange_fail(x, 404, "there is no pool '%s'", x->params[0]);
	exchange_set_etag(x, revision);
	return exchange_answer(x, status, row);
}

/* Of a database that has refused places. */
static int fail_places(struct exchange *x, int code, const struct wish *wish, struct error *err)
{
	if (code != -EEXIST)
		return exchange_fail_sql(x, code, err);
	return exchange_fail(x, 409,
		"pool '%s' would have host names, addresses of VLAN %d or MAC addresses that another "
		"pool has; choose others",
		x->params[0], (int)wish->vlan);
}

static int tell(
	struct exchange *x, struct sql *db, const char *kind, json_t *detail, struct error *err)
{
	char actor[EVENT_ACTOR_MAX], subject[sizeof(x->params[0]) + 8];

	snprintf(subject, sizeof(subject), "pool:%s", x->params[0]);
	return event_add(db, x->now_us, kind, subject, event_actor(&x->caller, actor), detail, err);
}

static int make(struct exchange *x, struct sql *db, const struct wish *wish, const char *servers)
{
	const struct place_rule *rule = &wish->rule;
	struct error err = {0};
	int r = sql_change(db, &err,
		"INSERT INTO pool (name, vlan, domain, host_pattern, first_address, mac_prefix,"
		" prefix, gateway, nameservers_json, size, created, revision)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1)",
		sql_text(x->params[0]), sql_number((int64_t)wish->vlan), sql_text(rule->domain),
		sql_text(rule->host_pattern), sql_text(rule->first_address),
		sql_text(rule->mac_prefix), sql_number((int64_t)rule->prefix),
		sql_text(rule->gateway), sql_text(servers), sql_number((int64_t)rule->size),
		sql_number((int64_t)x->now_us));

	if (r >= 0)
		r = make_places(db, x->params[0], wish, 1, &err);
	if (r >= 0)
		r = tell(x, db, "pool.made", json_pack("{s:I}", "size", (json_int_t)rule->size),
			&err);
	return r < 0 ? fail_places(x, r, wish, &err) : answer(x, db, 201);
}

static bool is_same_text(json_t *row, const char *name, const char *text)
{
	const char *there = json_string_value(json_object_get(row, name));

	return there && streq(there, text);
}

static uint64_t get_number(json_t *row, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(row, name));
}

/* What places are made by cannot change while they are there. */
static bool is_same_rule(json_t *row, const struct wish *wish)
{
	return get_number(row, "vlan") == wish->vlan &&
	       is_same_text(row, "domain", wish->rule.domain) &&
	       is_same_text(row, "host_pattern", wish->rule.host_pattern) &&
	       is_same_text(row, "first_address", wish->rule.first_address) &&
	       is_same_text(row, "mac_prefix", wish->rule.mac_prefix);
}

static bool is_same(json_t *row, const struct wish *wish)
{
	json_t *servers = json_object_get(row, "nameservers");

	return get_number(row, "size") == wish->rule.size &&
	       get_number(row, "prefix") == wish->rule.prefix &&
	       is_same_text(row, "gateway", wish->rule.gateway) &&
	       (wish->nameservers ? json_equal(servers, wish->nameservers)
				  : json_array_size(servers) == 0);
}

static int change(struct exchange *x, struct sql *db, const struct wish *wish, const char *servers,
	json_t *row)
{
	const struct place_rule *rule = &wish->rule;
	uint64_t size = get_number(row, "size");
	struct error err = {0};
	int r;

	if (!is_same_rule(row, wish))
		return exchange_fail(x, 409,
			"pool '%s' exists with another VLAN, domain, pattern, first address or MAC "
			"prefix; delete it first, or take another name",
			x->params[0]);
	if (is_same(row, wish))
		return answer(x, db, 200);
	if (rule->size < size)
		return exchange_fail(x, 409, "pool '%s' has %d places; it can only grow",
			x->params[0], (int)size);
	r = sql_change(db, &err,
		"UPDATE pool SET prefix = ?2, gateway = ?3, nameservers_json = ?4, size = ?5,"
		" revision = revision + 1 WHERE name = ?1",
		sql_text(x->params[0]), sql_number((int64_t)rule->prefix), sql_text(rule->gateway),
		sql_text(servers), sql_number((int64_t)rule->size));
	if (r >= 0)
		r = make_places(db, x->params[0], wish, size + 1, &err);
	if (r >= 0)
		r = tell(x, db, "pool.changed", json_pack("{s:I}", "size", (json_int_t)rule->size),
			&err);
	return r < 0 ? fail_places(x, r, wish, &err) : answer(x, db, 200);
}

static int run_put(struct exchange *x, struct sql *db)
{
	struct wish wish = {0};
	autofree char *servers = NULL;
	struct error err = {0};
	json_t *row = NULL;
	int64_t revision = 0;
	int r, status = body_parse(x, &wish);

	if (status == 0)
		status = body_check_name(x, "pool", x->params[0]);
	if (status)
		return status;
	if (check_nameservers(wish.nameservers, &err) < 0 || place_check_rule(&wish.rule, &err) < 0)
		return exchange_fail(x, 400, "the pool is not possible: %s", err.text);
	servers = wish.nameservers ? json_dumps(wish.nameservers, JSON_COMPACT) : strdup("[]");
	if (!servers)
		return exchange_answer(x, 500, NULL);
	r = listing_get(db, &pool_listing, x->params[0], &row, &revision, &err);
	if (r < 0)
		return exchange_fail_sql(x, r, &err);
	if (x->if_match && (status = exchange_check_match(x, revision)))
		r = -1;
	if (r >= 0)
		status = r == 0 ? make(x, db, &wish, servers) : change(x, db, &wish, servers, row);
	json_decref(row);
	return status;
}

static int run_delete(struct exchange *x, struct sql *db)
{
	const struct sql_value name = sql_text(x->params[0]);
	struct error err = {0};
	int64_t used = 0;
	int r = sql_get_number(db, &err, &used, "SELECT count(*) FROM lease WHERE pool = ?1", name);

	if (r >= 0 && used > 0)
		return exchange_fail(x, 409,
			"pool '%s' has %d leases; have them returned first (GET "
			"/v1/leases?pool=%s)",
			x->params[0], (int)used, x->params[0]);
	if (r >= 0)
		r = sql_change(db, &err, "DELETE FROM place WHERE pool = ?1", name);
	if (r >= 0)
		r = sql_change(db, &err, "DELETE FROM pool WHERE name = ?1", name);
	if (r > 0)
		r = tell(x, db, "pool.removed", NULL, &err);
	return r < 0 ? exchange_fail_sql(x, r, &err) : exchange_answer_nothing(x);
}

#define ADMINISTRATORS ROLE_ADMINISTRATOR
#define READERS        (ROLE_USER | ROLE_NODE | ROLE_ADMINISTRATOR)

const struct route pool_routes[] = {
	{"GET", "/v1/pools", ROUTE_READ, READERS, "Lists the pools of names and addresses",
		.listing = &pool_listing},
	{"GET", "/v1/pools/{name}", ROUTE_READ, READERS, "Shows a pool", .listing = &pool_listing,
		.one = true},
	{"PUT", "/v1/pools/{name}", ROUTE_WRITE, ADMINISTRATORS,
		"Makes a pool with its places, or has it grow", .body = wish_fields,
		.listing = &pool_listing, .one = true, .run = run_put},
	{"DELETE", "/v1/pools/{name}", ROUTE_WRITE, ADMINISTRATORS,
		"Removes a pool of which nothing is lent", .run = run_delete},
	{.method = NULL},
};
