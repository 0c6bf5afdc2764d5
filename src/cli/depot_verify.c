/* wnodes depot verify: is all of a depot what it should be? */
#include "depot/depot_verify.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "cli/depot.h"
#include "cli/image_progress.h"
#include "lib/log.h"
#include "lib/parse.h"

/* So many are listed with --json; all are counted. */
#define LISTED_MAX 10000

/* As a check that was made and has failed, apart from one that could not be made. */
#define EXIT_FLAWS 1

struct verify_options {
	bool whole, json, quiet;
};

static const struct verb_option options[] = {
	{"whole", 0, OPTION_FLAG, offsetof(struct verify_options, whole),
		.help = "Puts each file together from its chunks, too, as who fetches it does"},
	{"json", 0, OPTION_FLAG, offsetof(struct verify_options, json),
		.help = "Prints JSON: counts, flaws, and images that have some"},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct verify_options, quiet),
		.help = "Prints flaws only"},
	{.name = NULL},
};

struct report {
	const struct verify_options *options;
	json_t *flaws, *images;
};

static void on_flaw(enum depot_flaw flaw, const char *path, const char *why, void *userdata)
{
	static const char *const words[] = {"damaged", "missing", "foreign"};
	struct report *r = userdata;

	if (!r->options->json)
		printf("%s: %s: %s\n", words[flaw], path, why);
	else if (json_array_size(r->flaws) < LISTED_MAX)
		json_array_append_new(r->flaws, json_pack("{s:s, s:s, s:s}", "flaw", words[flaw],
							"path", path, "reason", why));
}

static void on_image(const char *digest, uint64_t flaws, void *userdata)
{
	struct report *r = userdata;

	if (!r->options->json)
		printf("image %s cannot be had: %llu of its files %s damaged or missing\n", digest,
			(unsigned long long)flaws, flaws == 1 ? "is" : "are");
	else if (json_array_size(r->images) < LISTED_MAX)
		json_array_append_new(r->images,
			json_pack("{s:s, s:I}", "digest", digest, "flaws", (json_int_t)flaws));
}

static int print(struct report *r, const struct depot_count *c)
{
	char size[FORMAT_MAX];
	json_t *all;
	int written = 0;

	if (r->options->json) {
		all = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:O}", "manifests",
			(json_int_t)c->manifests, "indexes", (json_int_t)c->indexes, "chunks",
			(json_int_t)c->chunks, "bytes", (json_int_t)c->bytes, "damaged",
			(json_int_t)c->damaged, "missing", (json_int_t)c->missing, "foreign",
			(json_int_t)c->foreign, "broken", (json_int_t)c->images, "flaws", r->flaws,
			"images", r->images);
		written = all ? json_dumpf(all, stdout, JSON_INDENT(2)) : -1;
		json_decref(all);
		putchar('\n');
	} else if (!r->options->quiet) {
		printf("%llu images, %llu indexes and %llu chunks are right, %s; %llu files are "
		       "damaged, %llu missing, %llu foreign\n",
			(unsigned long long)c->manifests, (unsigned long long)c->indexes,
			(unsigned long long)c->chunks, format_size(c->bytes, size),
			(unsigned long long)c->damaged, (unsigned long long)c->missing,
			(unsigned long long)c->foreign);
	}
	return written < 0 ? -ENOMEM : 0;
}

static int verify(
	const char *directory, struct report *r, struct depot_count *count, struct error *err)
{
	struct depot *depot AUTO(depot_freep) = NULL;
	const struct depot_verify_events events = {
		.on_flaw = on_flaw,
		.on_image = on_image,
		.on_bytes = image_progress_bytes,
		.userdata = r,
		.cancel = image_progress_catch_signals(),
	};
	int result = depot_open(directory, false, &depot, err);

	if (result < 0)
		return result;
	image_progress_start(false);
	image_progress_step("reading", NULL);
	result = depot_verify(depot, r->options->whole, &events, count, err);
	image_progress_stop();
	return result;
}

static int run_verify(const void *options_struct, int arg_count, const char *const *args)
{
	struct report report = {
		.options = options_struct, .flaws = json_array(), .images = json_array()};
	struct depot_count count = {0};
	struct error err = {.text = "out of memory"};
	int r = report.flaws && report.images ? verify(args[0], &report, &count, &err) : -ENOMEM;

	if (r >= 0)
		r = print(&report, &count);
	if (r < 0)
		log_error("%s", err.text);
	json_decref(report.flaws);
	json_decref(report.images);
	return r < 0 ? EXIT_WNODES : count.damaged + count.missing > 0 ? EXIT_FLAWS : EXIT_SUCCESS;
}

const struct verb verb_depot_verify = {
	.name = "depot verify",
	.synopsis = "[options] DIRECTORY",
	.summary = "Check that a depot is what it should be",
	.about =
		"Reads all manifests, indexes and chunks of a depot's directory, compares them with "
		"their names, and looks for what images need. Files that are no depot's are told of, "
		"and are no flaw. Nothing is changed: publishing an image again, from a store that "
		"has it, mends what it needs once the damaged files are removed. The exit status is 0 "
		"if all is well, 1 if something is damaged or missing, and 125 if it could not be "
		"looked at.",
	.examples = "wnodes depot verify /srv/depot\n"
		    "wnodes depot verify --whole --json /srv/depot | jq .images\n",
	.options = options,
	.options_size = sizeof(struct verify_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "dir",
	.run = run_verify,
};
