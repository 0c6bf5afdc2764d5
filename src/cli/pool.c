/* wnodes pool: names, MAC addresses and addresses that VMs are lent. */
#include "cli/site.h"
#include "cli/site_verb.h"

#define VLAN_MAX   4094
#define COUNT_MAX  1000000
#define PREFIX_MAX 30

static const struct verb_option list_rows[] = {
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"vlan", "VLAN", TABLE_NUMBER},
	{"host_pattern", "HOSTS", TABLE_TEXT},
	{"domain", "DOMAIN", TABLE_TEXT},
	{"first_address", "FIRST ADDRESS", TABLE_TEXT},
	{"size", "SIZE", TABLE_NUMBER},
	{"used", "USED", TABLE_NUMBER},
	{.key = NULL},
};

static const struct table_column fields[] = {
	{"name", "Name", TABLE_TEXT},
	{"vlan", "VLAN", TABLE_NUMBER},
	{"host_pattern", "Host names", TABLE_TEXT},
	{"domain", "Domain", TABLE_TEXT},
	{"first_address", "First address", TABLE_TEXT},
	{"prefix", "Prefix", TABLE_NUMBER},
	{"gateway", "Gateway", TABLE_TEXT},
	{"nameservers", "Name servers", TABLE_TEXT},
	{"mac_prefix", "MAC addresses", TABLE_TEXT},
	{"size", "Size", TABLE_NUMBER},
	{"used", "Used", TABLE_NUMBER},
	{"created", "Created", TABLE_TIME},
	{.key = NULL},
};

static const struct site_list pools = {"pools", list_rows, columns, "name", NULL};

static int run_list(const void *options, int arg_count, const char *const *args)
{
	return site_verb_list(&pools, options);
}

static int run_show(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *pool = NULL;
	int status;

	site_path_init(&path, "pools", args[0], NULL);
	status = site_verb_get(&path, &pool);
	return status ? status : site_verb_print(pool, fields, o->json);
}

struct create_options {
	bool json, prefix_given;
	const char *domain, *hosts, *first, *gateway, *mac_prefix;
	uint64_t vlan, count, prefix;
	struct verb_list nameservers;
};

static const struct verb_option create_rows[] = {
	{"hosts", 0, OPTION_STRING, offsetof(struct create_options, hosts), "PATTERN",
		.help = "Host names, the number of a place in them: 'wn-%04d'"},
	{"first", 0, OPTION_STRING, offsetof(struct create_options, first), "ADDRESS",
		.help = "IPv4 address of the first place; the others follow"},
	{"count", 0, OPTION_NUMBER, offsetof(struct create_options, count), "N",
		.help = "How many places", .min = 1, .max = COUNT_MAX},
	{"prefix", 0, OPTION_NUMBER, offsetof(struct create_options, prefix), "BITS",
		.help = "Bits of the network that the addresses are in, as 16 in 10.1.0.0/16",
		.min = 8, .max = PREFIX_MAX,
		.given = offsetof(struct create_options, prefix_given)},
	{"vlan", 0, OPTION_NUMBER, offsetof(struct create_options, vlan), "N",
		.help = "Number of the VLAN; none by default", .max = VLAN_MAX},
	{"domain", 0, OPTION_STRING, offsetof(struct create_options, domain), "NAME",
		.help = "Domain of the host names"},
	{"gateway", 0, OPTION_STRING, offsetof(struct create_options, gateway), "ADDRESS",
		.help = "Gateway of the network"},
	{"nameserver", 0, OPTION_LIST, offsetof(struct create_options, nameservers), "ADDRESS",
		.help = "Name server of the network; may be repeated"},
	{"mac-prefix", 0, OPTION_STRING, offsetof(struct create_options, mac_prefix), "BYTES",
		.help = "What MAC addresses begin with; 52:54:01 by default"},
	SITE_JSON_OPTION(struct create_options),
	{.name = NULL},
};

static const char *missing_option(const struct create_options *o)
{
	return !o->hosts          ? "--hosts, as wn-%04d"
	       : !o->first        ? "--first, the first address"
	       : o->count == 0    ? "--count, how many places"
	       : !o->prefix_given ? "--prefix, the bits of the network"
				  : NULL;
}

static json_t *create_body(const struct create_options *o)
{
	json_t *body = json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:o, s:s}", "vlan",
		(json_int_t)o->vlan, "domain", o->domain ? o->domain : "", "host_pattern", o->hosts,
		"first_address", o->first, "size", (json_int_t)o->count, "prefix",
		(json_int_t)o->prefix, "nameservers", site_verb_texts(&o->nameservers),
		"mac_prefix", o->mac_prefix ? o->mac_prefix : "52:54:01");

	if (o->gateway)
		json_object_set_new(body, "gateway", json_string(o->gateway));
	return body;
}

static int run_create(const void *options, int arg_count, const char *const *args)
{
	const struct create_options *o = options;
	const char *missing = missing_option(o);
	struct site_path path AUTO(site_path_done) = {0};
	json_t *answer = NULL;
	int status;

	if (missing)
		return site_verb_fail("a pool needs %s", missing);
	site_path_init(&path, "pools", args[0], NULL);
	status = site_verb_change("PUT", &path, create_body(o), NULL, &answer);
	if (status)
		return status;
	return site_verb_tell(o->json, answer, "pool '%s' has %llu places, from %s on", args[0],
		(unsigned long long)o->count, o->first);
}

/* Of a pool, what says how its places are made: that is asked for again, with more of them. */
static json_t *grow_body(const json_t *pool, uint64_t size)
{
	static const char *const kept[] = {"vlan", "domain", "host_pattern", "first_address",
		"prefix", "gateway", "nameservers", "mac_prefix"};
	json_t *body = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		json_t *value = json_object_get(pool, kept[i]);

		if (value && !json_is_null(value))
			json_object_set(body, kept[i], value);
	}
	json_object_set_new(body, "size", json_integer((json_int_t)size));
	return body;
}

struct grow_options {
	bool json;
	uint64_t count;
};

static const struct verb_option grow_rows[] = {
	{"count", 0, OPTION_NUMBER, offsetof(struct grow_options, count), "N",
		.help = "How many places it is to have then", .min = 1, .max = COUNT_MAX},
	SITE_JSON_OPTION(struct grow_options),
	{.name = NULL},
};

static int run_grow(const void *options, int arg_count, const char *const *args)
{
	const struct grow_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *pool = NULL, *answer = NULL;
	json_int_t before;
	int status;

	if (o->count == 0)
		return site_verb_fail("write how many places it is to have: --count 400");
	site_path_init(&path, "pools", args[0], NULL);
	status = site_verb_get(&path, &pool);
	if (status)
		return status;
	before = json_integer_value(json_object_get(pool, "size"));
	if ((json_int_t)o->count < before)
		status = site_verb_fail("pool '%s' has %" JSON_INTEGER_FORMAT
					" places; it grows only",
			args[0], before);
	else
		status = site_verb_change("PUT", &path, grow_body(pool, o->count), NULL, &answer);
	json_decref(pool);
	if (status)
		return status;
	return site_verb_tell(o->json, answer,
		"pool '%s' has %llu places, %" JSON_INTEGER_FORMAT " before", args[0],
		(unsigned long long)o->count, before);
}

static int run_remove(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *pool = NULL, *answer = NULL;
	json_int_t size;
	int status;

	site_path_init(&path, "pools", args[0], NULL);
	status = site_verb_get(&path, &pool);
	size = json_integer_value(json_object_get(pool, "size"));
	json_decref(pool);
	if (status == EXIT_SUCCESS)
		status = site_verb_change("DELETE", &path, NULL, NULL, &answer);
	if (status)
		return status;
	return site_verb_tell(o->json, answer,
		"pool '%s' is removed, with its %" JSON_INTEGER_FORMAT " places", args[0], size);
}

const struct verb verb_pool_list = {
	.name = "pool list",
	.synopsis = "[options]",
	.summary = "List pools of names and addresses",
	.about = "Lists the pools that VMs are lent a host name, a MAC address and an IP address "
		 "from, with how many places each has and how many are lent.",
	.examples = "wnodes pool list\n",
	.options = list_rows,
	.options_size = sizeof(struct site_list_options),
	.run = run_list,
};

const struct verb verb_pool_show = {
	.name = "pool show",
	.synopsis = "[options] POOL",
	.summary = "Show a pool of names and addresses",
	.about = "Shows what the places of a pool are made by, and how many are lent; the leases "
		 "themselves: wnodes lease list --pool POOL.",
	.examples = "wnodes pool show grid\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "pool",
	.run = run_show,
};

const struct verb verb_pool_create = {
	.name = "pool create",
	.synopsis = "[options] POOL",
	.summary = "Make a pool of names and addresses",
	.about =
		"Makes --count places: the first has the number 1 in its host name and the address "
		"of --first, each next one the number, the address and the MAC address behind it. "
		"No other pool may have the same names, MAC addresses, or addresses of the VLAN. "
		"The same pool may be made again, which changes nothing. For administrators of the "
		"site.",
	.examples =
		"wnodes pool create grid --hosts 'wn-%04d' --domain grid.example.org \\\n"
		"    --vlan 12 --first 10.1.0.1 --count 200 --prefix 16 --gateway 10.1.255.254\n",
	.options = create_rows,
	.options_size = sizeof(struct create_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_create,
};

const struct verb verb_pool_grow = {
	.name = "pool grow",
	.synopsis = "[options] POOL",
	.summary = "Give a pool more names and addresses",
	.about =
		"Adds places behind those that there are, until there are --count. Nothing that is "
		"lent changes. For administrators of the site.",
	.examples = "wnodes pool grow grid --count 400\n",
	.options = grow_rows,
	.options_size = sizeof(struct grow_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "pool",
	.run = run_grow,
};

const struct verb verb_pool_remove = {
	.name = "pool remove",
	.synopsis = "[options] POOL",
	.summary = "Remove a pool of which nothing is lent",
	.about = "A pool that has leases is refused; see wnodes lease list --pool POOL. For "
		 "administrators of the site.",
	.examples = "wnodes pool remove old\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "pool",
	.run = run_remove,
};
