/* wnodes node show, drain and resume: what the node's daemon lends, and whether it does. */
#include "cli/node.h"

#include "cli/node_site.h"
#include "cli/table.h"
#include "engine/broker.h"
#include "lib/log.h"

struct show_options {
	bool json;
};

static const struct verb_option show_options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct show_options, json), .help = "Prints JSON"},
	{.name = NULL},
};

static const struct table_column fields[] = {
	{"state", "State", TABLE_TEXT},
	{"reason", "Reason", TABLE_TEXT},
	{"since", "Since", TABLE_TIME},
	{"failures", "Failures in a row", TABLE_NUMBER},
	{"vms", "VMs", TABLE_NUMBER},
	{"memory_bytes", "Memory of VMs", TABLE_SIZE},
	{"waiting", "Waiting", TABLE_NUMBER},
	{"templates", "Templates in memory", TABLE_NUMBER},
	{"template_memory_bytes", "Memory of templates", TABLE_SIZE},
	{"controller", "Controller", TABLE_TEXT},
	{"site_name", "Name at the site", TABLE_TEXT},
	{"autonomous_since", "On its own since", TABLE_TIME},
	{"failure", "Because", TABLE_TEXT},
	{"leases_ready", "Leases ready", TABLE_NUMBER},
	{"leases_used", "Leases used", TABLE_NUMBER},
	{"catalogue", "Catalogue of images", TABLE_TEXT},
	{"catalogue_failed_since", "IS OLD, since", TABLE_TIME},
	{"catalogue_failure", "Because", TABLE_TEXT},
	{"image_count", "Images fetched", TABLE_NUMBER},
	{"image_bytes", "Room of images", TABLE_SIZE},
	{"version", "Version", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column columns[] = {
	{"uid", "UID", TABLE_NUMBER},
	{"job", "JOB", TABLE_TEXT},
	{"image", "IMAGE", TABLE_TEXT},
	{"state", "STATE", TABLE_TEXT},
	{"age_us", "AGE", TABLE_DURATION},
	{"cpus", "CPUS", TABLE_NUMBER},
	{"memory_bytes", "MEMORY", TABLE_SIZE},
	{.key = NULL},
};

static const struct table_column image_columns[] = {
	{"digest", "IMAGE", TABLE_TEXT},
	{"called", "NAME", TABLE_TEXT},
	{"state", "STATE", TABLE_TEXT},
	{"bytes", "SIZE", TABLE_SIZE},
	{"last_used", "LAST USED", TABLE_TIME},
	{"kept", "KEPT", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column fetch_columns[] = {
	{"image", "FETCHED", TABLE_TEXT},
	{"state", "STATE", TABLE_TEXT},
	{"bytes", "HERE", TABLE_SIZE},
	{"total_bytes", "OF", TABLE_SIZE},
	{"rate_bytes", "A SECOND", TABLE_SIZE},
	{"waiting", "WAITING", TABLE_NUMBER},
	{"reason", "REASON", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column refusal_columns[] = {
	{"when", "REFUSED", TABLE_TIME},
	{"uid", "UID", TABLE_NUMBER},
	{"image", "IMAGE", TABLE_TEXT},
	{"reason", "REASON", TABLE_TEXT},
	{.key = NULL},
};

/* Takes `question`. Returns the answer, or NULL after saying why there is none. */
static json_t *ask(json_t *question)
{
	struct settings settings AUTO(settings_done) = {0};
	struct error err = {0};
	json_t *answer = NULL;
	int r = settings_load(&settings, &err);

	if (r == 0 && question)
		r = broker_ask(settings.broker, question, &answer, &err);
	json_decref(question);
	if (r < 0)
		log_error("%s", err.text);
	return answer;
}

/* What people read of an image: the beginning of its digest, its name, and why it stays. */
static void flatten_image(json_t *image)
{
	const char *digest = json_string_value(json_object_get(image, "digest"));
	const char *name = json_string_value(json_object_get(image, "name"));
	const char *tag = json_string_value(json_object_get(image, "tag"));

	if (name)
		json_object_set_new(image, "called",
			json_sprintf("%s%s%s", name, tag ? ":" : "", tag ? tag : ""));
	if (json_is_true(json_object_get(image, "pinned")))
		json_object_set_new(image, "kept", json_string("pinned"));
	else if (json_is_true(json_object_get(image, "staged")))
		json_object_set_new(image, "kept", json_string("staged"));
	if (digest)
		json_object_set_new(image, "digest", json_sprintf("%.12s", digest));
}

static void flatten_images(json_t *node)
{
	static const char *const lifted[] = {
		"catalogue", "catalogue_failed_since", "catalogue_failure"};
	json_t *images = json_object_get(node, "images");
	json_t *kept = json_object_get(images, "kept"), *image;
	size_t i;

	json_array_foreach(kept, i, image) flatten_image(image);
	if (!images)
		return;
	for (size_t k = 0; k < ARRAY_SIZE(lifted); k++)
		json_object_set(node, lifted[k], json_object_get(images, lifted[k]));
	json_object_set(node, "image_bytes", json_object_get(images, "bytes"));
	json_object_set_new(node, "image_count", json_integer((json_int_t)json_array_size(kept)));
}

/* Adds what only people need: flat members for the fields. */
static void flatten(json_t *node)
{
	json_t *drain = json_object_get(node, "drain");
	bool drained = json_is_true(json_object_get(drain, "drained"));
	json_t *site = json_object_get(node, "site");
	bool refuses = site && !json_is_true(json_object_get(site, "takes_vms"));

	json_object_set_new(node, "state",
		json_string(drained   ? "drained"
			    : refuses ? "on its own for too long"
				      : "up"));
	json_object_set(node, "site_name", json_object_get(site, "node"));
	json_object_update_missing(node, site);
	if (!drained)
		json_object_del(drain, "since");
	json_object_update_missing(node, drain);
	flatten_images(node);
}

/* Behind an empty line; nothing for an empty list. */
static int print_list(json_t *list, const struct table_column *its_columns)
{
	struct table *table AUTO(table_freep) = NULL;
	json_t *row;
	size_t i;

	if (json_array_size(list) == 0)
		return 0;
	table = table_new(its_columns);
	json_array_foreach(list, i, row) if (table) table_add(table, json_incref(row));
	printf("\n");
	return table ? table_print(table, stdout) : -1;
}

static int print_lists(const json_t *node)
{
	const json_t *images = json_object_get(node, "images");
	const struct {
		json_t *list;
		const struct table_column *columns;
	} lists[] = {
		{json_object_get(node, "vm_list"), columns},
		{json_object_get(images, "kept"), image_columns},
		{json_object_get(images, "fetches"), fetch_columns},
		{json_object_get(images, "refusals"), refusal_columns},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lists) && r == 0; i++)
		r = print_list(lists[i].list, lists[i].columns);
	return r;
}

static int print_node(json_t *node, bool json)
{
	struct table *table AUTO(table_freep) = table_new(fields);
	int r;

	if (!json)
		flatten(node);
	r = table ? table_add(table, json_incref(node)) : -1;
	if (r == 0)
		r = json ? table_print_json_record(table, stdout)
			 : table_print_record(table, stdout);
	return r < 0 || json ? r : print_lists(node);
}

static int run_show(const void *options, int arg_count, const char *const *args)
{
	const struct show_options *o = options;
	json_t *answer, *node;
	int r;

	if (arg_count > 0)
		return node_site_show(args[0], o->json);
	answer = ask(json_pack("{s:s}", "op", "node"));
	node = json_object_get(answer, "node");
	r = node ? print_node(node, o->json) : -1;
	json_decref(answer);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

static int tell(json_t *what)
{
	json_t *answer = ask(what);

	json_decref(answer);
	return answer ? EXIT_SUCCESS : EXIT_WNODES;
}

struct drain_options {
	const char *node;
	bool json;
};

static const struct verb_option drain_options[] = {
	{"node", 'n', OPTION_STRING, offsetof(struct drain_options, node), "NAME",
		.help = "Another node, by way of the site's controllers", .complete = "node"},
	{"json", 0, OPTION_FLAG, offsetof(struct drain_options, json),
		.help = "With --node: prints JSON, the node as it is known then"},
	{.name = NULL},
};

static int run_drain(const void *options, int arg_count, const char *const *args)
{
	const struct drain_options *o = options;

	if (o->node)
		return node_site_drain(o->node, args[0], o->json);
	return tell(json_pack("{s:s, s:s}", "op", "drain", "reason", args[0]));
}

static int run_resume(const void *options, int arg_count, const char *const *args)
{
	const struct drain_options *o = options;

	if (o->node)
		return node_site_drain(o->node, NULL, o->json);
	return tell(json_pack("{s:s}", "op", "resume"));
}

const struct verb verb_node_show = {
	.name = "node show",
	.synopsis = "[options] [NODE]",
	.summary = "Show what this node lends to VMs, or another",
	.about =
		"Asks the node's daemon, wnodes-hypervisor: whether it takes VMs, how many it has, "
		"who waits, and what is held in memory; on a node of a site also which images were "
		"fetched, which are on their way, and who was refused one and why. Root and "
		"administrators see all users' VMs and refusals, others their own.\n"
		"\n"
		"With the name of a node, asks the site's controllers what they know of it.",
	.examples = "wnodes node show\n"
		    "wnodes node show --json\n"
		    "wnodes node show wn017\n",
	.options = show_options,
	.options_size = sizeof(struct show_options),
	.max_args = 1,
	.args_complete = "node",
	.run = run_show,
};

const struct verb verb_node_drain = {
	.name = "node drain",
	.synopsis = "[options] REASON",
	.summary = "Let this node, or another, take no more VMs",
	.about = "VMs that run go on; new ones are refused with the reason, until wnodes node "
		 "resume, also when the daemon or the node was started anew. The batch system is "
		 "told, and sends no more jobs to the node; [node] lrms = none keeps it from being "
		 "told. For root and [node] administrators.\n"
		 "\n"
		 "With --node, the site's controllers are told, and tell that node when it is next "
		 "in touch with them. For administrators of its host group.",
	.examples = "wnodes node drain 'memory module to be changed'\n"
		    "wnodes node drain --node wn017 'memory module to be changed'\n",
	.options = drain_options,
	.options_size = sizeof(struct drain_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_drain,
};

const struct verb verb_node_resume = {
	.name = "node resume",
	.synopsis = "[options]",
	.summary = "Let this node, or another, take VMs again",
	.about =
		"Ends a drain, also one that the node has begun itself because one VM after the other "
		"did not start; the batch system is told as well. For root and [node] "
		"administrators, and with --node for administrators of its host group.",
	.examples = "wnodes node resume\n"
		    "wnodes node resume --node wn017\n",
	.options = drain_options,
	.options_size = sizeof(struct drain_options),
	.run = run_resume,
};
