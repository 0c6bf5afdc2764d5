/* wnodes image publish: from a store into a depot, of a directory or of the site. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_progress.h"
#include "cli/image_site.h"
#include "cli/image_upload.h"
#include "depot/publish.h"
#include "image/locate.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/timestamp.h"

struct publish_options {
	const char *depot, *as, *expires, *reason;
	uint64_t threads;
	bool json, verbose, site, private, endorsed;
};

#define OPTION(name, letter, type, member, argument, complete, help)                          \
	{                                                                                     \
		name, letter, type, offsetof(struct publish_options, member), argument, NULL, \
			complete, help                                                        \
	}

static const struct verb_option options[] = {
	OPTION("depot", 'd', OPTION_STRING, depot, "DIRECTORY", "dir",
		"The depot, which is made if there is none"),
	OPTION("site", 's', OPTION_FLAG, site, NULL, NULL,
		"Sends it to the site's controllers, where it is pending then"),
	OPTION("as", 0, OPTION_STRING, as, "NAME[:TAG]", NULL,
		"The name that it is to get at the site; by default that which it has here"),
	OPTION("private", 'p', OPTION_FLAG, private, NULL, NULL,
		"At the site, for your own VMs alone"),
	OPTION("endorsed", 0, OPTION_FLAG, endorsed, NULL, NULL,
		"At the site, you vouch for it at once; for endorsers and administrators"),
	OPTION("expires", 0, OPTION_STRING, expires, "TIME", NULL,
		"At the site, until when it is good: 2027-01-31T00:00:00Z, or 30d from now"),
	OPTION("reason", 'r', OPTION_STRING, reason, "TEXT", NULL,
		"At the site, why; it is kept for ever"),
	{"threads", 0, OPTION_NUMBER, offsetof(struct publish_options, threads), "N", NULL, NULL,
		"Uses so many threads; by default one for each CPU", .min = 1, .max = 64},
	OPTION("json", 0, OPTION_FLAG, json, NULL, NULL,
		"Prints JSON: the release, and what was new"),
	OPTION("verbose", 0, OPTION_FLAG, verbose, NULL, NULL, "Says what is done"),
	{.name = NULL},
};

static int publish(const struct publish_options *o, const char *directory, const char *reference,
	struct image **ret_image, struct publish_result *ret, struct error *err)
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
		r = depot_open(directory, true, &depot, err);
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

/* What an image is to be called at the site. */
static int set_name(const struct publish_options *o, const struct image *image,
	struct image_upload *u, char **name, char **tag, struct error *err)
{
	const char *reference = o->as ? o->as : image->name;

	if (!reference)
		return fail(err, -EINVAL, "say what it is called at the site: --as NAME[:TAG]");
	if (store_parse_reference(reference, name, tag, err) < 0)
		return err->code;
	u->name = *name;
	u->tag = o->as ? (strchr(o->as, ':') ? *tag : NULL) : image->tag;
	return 0;
}

static int send_image(const struct publish_options *o, const char *directory,
	const struct image *image, const struct publish_result *result, json_t **ret,
	struct image_upload *u, struct error *err)
{
	struct depot *depot AUTO(depot_freep) = NULL;
	autofree char *name = NULL, *tag = NULL;
	char until[TIMESTAMP_TEXT_SIZE] = "";
	int r = o->expires ? image_site_parse_time(o->expires, until, err) : 0;

	*u = (struct image_upload){.release = result->release,
		.reason = o->reason,
		.expires = until[0] ? until : NULL,
		.private = o->private,
		.endorsed = o->endorsed,
		.on_bytes = image_progress_part};
	if (r == 0)
		r = set_name(o, image, u, &name, &tag, err);
	if (r == 0)
		r = depot_open(directory, false, &depot, err);
	u->depot = depot;
	if (r == 0) {
		image_progress_start(o->verbose);
		image_progress_step("sending", NULL);
		r = image_upload_run(u, ret, err);
		image_progress_stop();
	}
	u->depot = NULL;
	return r;
}

/* Through a depot of its own, which stays only where it was not sent to its end. */
static int publish_to_site(const struct publish_options *o, const char *reference,
	const char *directory, struct error *err)
{
	struct publish_result result AUTO(publish_done) = {0};
	struct image *image AUTO(image_freep) = NULL;
	struct image_upload u = {0};
	char sent[FORMAT_MAX];
	json_t *answer = NULL;
	int r = publish(o, directory, reference, &image, &result, err);

	if (r >= 0)
		r = send_image(o, directory, image, &result, &answer, &u, err);
	if (r < 0)
		return r;
	if (o->json) {
		json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
	} else {
		printf("%s %.12s is %s at the site%s; %llu chunks were sent, %s\n",
			json_string_value(json_object_get(answer, "name")), result.release->digest,
			json_string_value(json_object_get(answer, "state")),
			o->private ? ", for you alone" : "", (unsigned long long)u.sent_chunks,
			format_size(u.sent_bytes, sent));
	}
	json_decref(answer);
	return 0;
}

static int run_site(const struct publish_options *o, const char *reference)
{
	autofree char *data = path_data();
	autofree char *own = data ? path_format("%s/upload", data) : NULL;
	const char *directory = o->depot ? o->depot : own;
	struct error err = {0};

	if (!directory || publish_to_site(o, reference, directory, &err) < 0) {
		log_error("%s", directory ? err.text : "out of memory");
		return EXIT_WNODES;
	}
	if (!o->depot)
		file_remove_tree(AT_FDCWD, own);
	return EXIT_SUCCESS;
}

static int run_publish(const void *options_struct, int arg_count, const char *const *args)
{
	const struct publish_options *o = options_struct;
	struct publish_result result AUTO(publish_done) = {0};
	struct image *image AUTO(image_freep) = NULL;
	uint64_t began = clock_now_us(), took_us;
	struct error err = {0};

	if (o->site)
		return run_site(o, args[0]);
	if (!o->depot) {
		log_error("say where to: --site, or --depot DIRECTORY");
		return EXIT_WNODES;
	}
	if (publish(o, o->depot, args[0], &image, &result, &err) < 0) {
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
		"With --site it goes to the controllers of the site, which have a depot, and is in "
		"their catalogue then, pending: an endorser vouches for it, an administrator "
		"approves it, and it gets the tag that it was published with. Everybody may publish "
		"images that are --private, up to a quota; those are good at once, for their owner's "
		"VMs. Only chunks that the site does not have are sent. With --depot as well, "
		"that directory is left as it is then, and serves the next time.\n"
		"\n"
		"The image is seen by others when all of it is there. A publisher that is killed, or "
		"finds the disk full, leaves the depot sound: publish again, and it goes on.",
	.examples = "wnodes image publish --depot /srv/depot el9\n"
		    "wnodes image publish --site el9:2026-12 --reason 'the new kernel'\n"
		    "wnodes image publish --site --private mine\n"
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
