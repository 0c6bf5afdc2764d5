/* wnodes image publish: from a store into a depot. */
#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_progress.h"
#include "depot/publish.h"
#include "image/locate.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/parse.h"

struct publish_options {
	const char *depot;
	uint64_t threads;
	bool json, verbose;
};

#define OPTION(name, letter, type, member, argument, complete, help)                          \
	{                                                                                     \
		name, letter, type, offsetof(struct publish_options, member), argument, NULL, \
			complete, help                                                        \
	}

static const struct verb_option options[] = {
	OPTION("depot", 'd', OPTION_STRING, depot, "DIRECTORY", "dir",
		"The depot, which is made if there is none"),
	{"threads", 0, OPTION_NUMBER, offsetof(struct publish_options, threads), "N", NULL, NULL,
		"Uses so many threads; by default one for each CPU", .min = 1, .max = 64},
	OPTION("json", 0, OPTION_FLAG, json, NULL, NULL,
		"Prints JSON: the release, and what was new"),
	OPTION("verbose", 0, OPTION_FLAG, verbose, NULL, NULL, "Says what is done"),
	{.name = NULL},
};

static int publish(const struct publish_options *o, const char *reference, struct image **ret_image,
	struct publish_result *ret, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	struct depot *depot AUTO(depot_freep) = NULL;
	struct publish_request request = {
		.threads = (unsigned)o->threads,
		.on_step = image_progress_step,
		.on_bytes = image_progress_part,
	};
	int r = locate_image(reference, &store, ret_image, err);

	if (r >= 0)
		r = depot_open(o->depot, true, &depot, err);
	if (r < 0)
		return r;
	request.store = store;
	request.depot = depot;
	request.image = *ret_image;
	image_progress_start(o->verbose);
	r = publish_image(&request, ret, err);
	image_progress_stop();
	return r;
}

static int print_json(const struct publish_result *result, uint64_t took_us)
{
	json_t *root = release_to_json(result->release);
	json_t *more = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "bytes",
		(json_int_t)result->bytes, "chunks", (json_int_t)result->chunks, "new_chunks",
		(json_int_t)result->new_chunks, "new_bytes", (json_int_t)result->new_bytes,
		"new_file_bytes", (json_int_t)result->new_file_bytes, "duration_s",
		(double)took_us / 1e6);
	int r = root && json_object_update_new(root, more) == 0 &&
				json_dumpf(root, stdout, JSON_SORT_KEYS | JSON_INDENT(2)) == 0
			? 0
			: -ENOMEM;

	json_decref(root);
	putchar('\n');
	return r;
}

static void print_summary(
	const struct image *image, const struct publish_result *result, uint64_t took_us)
{
	char bytes[FORMAT_MAX], fresh[FORMAT_MAX], stored[FORMAT_MAX], took[FORMAT_MAX];

	printf("%s:%s %.12s: %s in %s; of %llu chunks %llu are new, %s, stored in %s\n",
		image->name, image->tag, image->digest, format_size(result->bytes, bytes),
		format_duration(took_us, took), (unsigned long long)result->chunks,
		(unsigned long long)result->new_chunks, format_size(result->new_bytes, fresh),
		format_size(result->new_file_bytes, stored));
}

static int run_publish(const void *options_struct, int arg_count, const char *const *args)
{
	const struct publish_options *o = options_struct;
	struct publish_result result AUTO(publish_done) = {0};
	struct image *image AUTO(image_freep) = NULL;
	uint64_t began = clock_now_us(), took_us;
	struct error err = {0};

	if (!o->depot) {
		log_error("say where to: --depot DIRECTORY");
		return EXIT_WNODES;
	}
	if (publish(o, args[0], &image, &result, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	took_us = clock_now_us() - began;
	if (!o->json)
		print_summary(image, &result, took_us);
	else if (print_json(&result, took_us) < 0)
		return EXIT_WNODES;
	return EXIT_SUCCESS;
}

const struct verb verb_image_publish = {
	.name = "image publish",
	.synopsis = "[options] NAME[:TAG]",
	.summary = "Put an image into a depot, from which others take it",
	.about =
		"Cuts the image's files into chunks by their content, and writes those that the "
		"depot does not have, compressed. Chunks that images share are stored once, and who "
		"has one version of an image fetches only what is new in the next.\n"
		"\n"
		"A depot is a directory of files that never change. Any web server can serve it, and "
		"so can a directory that all nodes mount; casync(1) extracts from it as well.\n"
		"\n"
		"The image is seen by others when all of it is there. A publisher that is killed, or "
		"finds the disk full, leaves the depot sound: publish again, and it goes on.",
	.examples = "wnodes image publish --depot /srv/depot el9\n"
		    "# What would a node with the last version fetch?\n"
		    "wnodes image publish --depot /srv/depot --json el9 | jq .new_file_bytes\n"
		    "# casync reads it, too: the index is named after the disk's SHA-256\n"
		    "cd /srv/depot && casync extract --store=chunks index/8a4f...caibx /tmp/disk\n",
	.options = options,
	.options_size = sizeof(struct publish_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "image",
	.run = run_publish,
};
