/* wnodes image stage: an image comes to nodes before anybody asks for it. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "cli/image.h"
#include "cli/image_site.h"
#include "cli/site_verb.h"
#include "lib/log.h"
#include "lib/uuid.h"

#define LOOK_S 2

/* So many times in a row no controller may answer. */
#define MISSES_MAX 30

struct stage_options {
	const char *nodes, *reason;
	uint64_t wave;
	bool all, detach, json;
};

#define OPTION(name, letter, type, member, argument, help)                                        \
	{                                                                                         \
		name, letter, type, offsetof(struct stage_options, member), argument, NULL, NULL, \
			help                                                                      \
	}

static const struct verb_option rows[] = {
	{"nodes", 'n', OPTION_STRING, offsetof(struct stage_options, nodes), "GROUP", NULL, "group",
		"To the nodes of this host group"},
	OPTION("all", 'a', OPTION_FLAG, all, NULL, "To all nodes of the site"),
	{"wave", 'w', OPTION_NUMBER, offsetof(struct stage_options, wave), "N", NULL, NULL,
		"So many nodes fetch it at a time (16)", .min = 1, .max = 10000},
	OPTION("reason", 'r', OPTION_STRING, reason, "TEXT", "Why"),
	OPTION("detach", 'd', OPTION_FLAG, detach, NULL, "Does not wait for its end"),
	OPTION("json", 0, OPTION_FLAG, json, NULL, "Prints JSON"),
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"node", "NODE", TABLE_TEXT},
	{"reason", "WHY NOT", TABLE_TEXT},
	{.key = NULL},
};

static const char *text_of(json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

static long long number_of(json_t *row, const char *name)
{
	return json_integer_value(json_object_get(row, name));
}

static int start(const struct stage_options *o, const char *reference, json_t **ret)
{
	struct site_path path AUTO(site_path_done) = {0};
	char id[UUID_TEXT_SIZE];
	json_t *image = NULL, *body;
	int status = image_site_get(reference, &image);

	if (status)
		return status;
	if (uuid_new(id) < 0)
		status = site_verb_fail("no random numbers");
	body = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "digest", text_of(image, "digest"),
		"reference", reference, "group", o->nodes ? o->nodes : "", "reason",
		o->reason ? o->reason : "");
	json_decref(image);
	if (o->wave > 0)
		json_object_set_new(body, "wave", json_integer((json_int_t)o->wave));
	site_path_init(&path, "stagings", NULL);
	return status ? status : site_verb_change("POST", &path, body, NULL, ret);
}

/* On a terminal, a line that changes. */
static void show(json_t *staging)
{
	long long done = number_of(staging, "done"), failed = number_of(staging, "failed"),
		  fetching = number_of(staging, "fetching"),
		  waiting = number_of(staging, "waiting");

	if (isatty(STDERR_FILENO))
		fprintf(stderr,
			"\r\033[K%lld of %lld nodes have it, %lld fetch, %lld wait, %lld failed",
			done, done + failed + fetching + waiting, fetching, waiting, failed);
}

/* Looks until it has ended. A controller that does not answer may be another one soon. */
static int await(json_t **staging)
{
	const struct timespec pause = {.tv_sec = LOOK_S};
	struct error err = {0};
	int misses = 0;

	while (streq(text_of(*staging, "state"), "running")) {
		struct site_path path AUTO(site_path_done) = {0};
		json_t *now = NULL;
		int r;

		show(*staging);
		nanosleep(&pause, NULL);
		site_path_init(&path, "stagings", text_of(*staging, "id"), NULL);
		r = site_call_ask("GET", &path, NULL, NULL, &now, &err);
		misses = r == 0 ? 0 : misses + 1;
		if (r < 0 && (r != -ENOTCONN || misses == MISSES_MAX))
			return site_verb_fail("it goes on, but cannot be followed: %s", err.text);
		if (now) {
			json_decref(*staging);
			*staging = now;
		}
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return EXIT_SUCCESS;
}

static int on_node(json_t *node, void *userdata)
{
	return table_add(userdata, node);
}

static int print_failures(json_t *staging)
{
	struct table *table AUTO(table_freep) = table_new(columns);
	struct site_path path AUTO(site_path_done) = {0};
	struct error err = {.text = "out of memory"};
	int r;

	site_path_init(&path, "stagings", text_of(staging, "id"), "nodes", NULL);
	site_path_add(&path, "state", "failed");
	r = table ? site_call_list(&path, on_node, table, &err) : -ENOMEM;
	if (r >= 0)
		r = table_print(table, stdout);
	return r < 0 ? site_verb_fail("%s", err.text) : EXIT_FAILURE;
}

static int print(const struct stage_options *o, json_t *staging)
{
	long long done = number_of(staging, "done"), failed = number_of(staging, "failed");
	long long all =
		done + failed + number_of(staging, "fetching") + number_of(staging, "waiting");

	if (o->json) {
		site_verb_tell(true, json_incref(staging), "%s", "");
		return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	printf("staging %s of %s is %s: %lld of %lld nodes have it, %lld failed\n",
		text_of(staging, "id"), text_of(staging, "reference"), text_of(staging, "state"),
		done, all, failed);
	return failed > 0 ? print_failures(staging) : EXIT_SUCCESS;
}

static int run(const void *options, int arg_count, const char *const *args)
{
	const struct stage_options *o = options;
	json_t *staging = NULL;
	int status;

	if (!o->nodes == !o->all)
		return site_verb_fail("say to which nodes: --nodes GROUP, or --all");
	status = start(o, args[0], &staging);
	if (status == EXIT_SUCCESS && !o->detach)
		status = await(&staging);
	if (status == EXIT_SUCCESS)
		status = print(o, staging);
	json_decref(staging);
	return status;
}

const struct verb verb_image_stage = {
	.name = "image stage",
	.synopsis = "--nodes GROUP | --all [options] IMAGE",
	.summary = "Bring an image to nodes before jobs ask for it",
	.about =
		"The nodes fetch it so many at a time, from each other where they can, and keep it "
		"for a month. Shows how far it is, and at the end the nodes that have failed, and "
		"why; then the exit status is 1. A node fails when it is lost, when it says so, or "
		"when nothing has come for a quarter of an hour. It goes on when this program is "
		"ended. For administrators of the site, or of the host group.\n"
		"\n"
		"IMAGE is NAME[:TAG] of the site's catalogue, or the first digits (at least eight) "
		"of a digest.",
	.examples = "wnodes image stage el9:2026-12 --nodes batch --wave 50\n",
	.options = rows,
	.options_size = sizeof(struct stage_options),
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
