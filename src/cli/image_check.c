/* wnodes image check: an image is started, and tried. */
#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_check.h"
#include "cli/image_progress.h"
#include "image/locate.h"
#include "image/workshop.h"
#include "lib/json.h"
#include "lib/log.h"

struct check_options {
	bool json, verbose;
};

static const struct verb_option options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct check_options, json),
		.help = "JSON, with the list of all installed packages, for an endorser's records"},
	{"verbose", 0, OPTION_FLAG, offsetof(struct check_options, verbose),
		.help = "Says what is done"},
	{.name = NULL},
};

json_t *image_check_json(const struct imagecheck *c)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < c->count; i++) {
		const struct imagecheck_result *r = &c->results[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s}", "name", r->name,
						    "kind", r->is_policy ? "policy" : "check",
						    "passed", r->passed, "reason", r->why));
	}
	return list;
}

void image_check_print(const struct imagecheck *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct imagecheck_result *r = &c->results[i];

		printf("%-8s %-7s %s%s%s\n", r->passed ? "passed" : "FAILED",
			r->is_policy ? "policy" : "check", r->name, r->passed ? "" : ": ", r->why);
	}
}

static void print_json(const struct image *image, const struct imagecheck *c)
{
	json_t *root = json_pack("{s:s, s:b, s:o, s:o}", "digest", image->digest, "passed",
		c->failures == 0, "checks", image_check_json(c), "packages",
		json_from_strings(strv_list(&c->packages)));

	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
	putchar('\n');
	json_decref(root);
}

static int open_part(
	struct store *s, const struct manifest *m, enum image_part_kind kind, struct error *err)
{
	const struct image_part *part = manifest_part(m, kind);

	return part ? store_open_part(s, part, err) : -1;
}

static int check(struct store *s, const struct image *image, int log_fd, struct imagecheck *ret,
	struct error *err)
{
	const struct manifest *m = image->manifest;
	struct settings settings AUTO(settings_done) = {0};
	autoclose int disk = open_part(s, m, IMAGE_DISK, err);
	autoclose int kernel = open_part(s, m, IMAGE_KERNEL, err);
	autoclose int initrd = open_part(s, m, IMAGE_INITRD, err);
	const struct imagecheck_parts parts = {.image = image->name ? image->name : image->digest,
		.manifest = m,
		.disk_fd = disk,
		.kernel_fd = kernel,
		.initrd_fd = initrd};

	if (err->code < 0)
		return err->code;
	if (settings_load(&settings, err) < 0)
		return err->code;
	return imagecheck_run(&parts, &settings, log_fd, ret, err);
}

/* The log is kept where something has failed. */
static int check_logged(
	const struct image *image, struct store *from, struct imagecheck *ret, struct error *err)
{
	struct workshop shop AUTO(workshop_done) = WORKSHOP_INIT;
	struct store *own AUTO(store_freep) = NULL;
	int r = locate_own_store(&own, err);

	if (r >= 0)
		r = workshop_open(own, "check", image->name ? image->name : "image",
			image->tag ? image->tag : image->digest, NULL, &shop, err);
	if (r < 0)
		return r;
	image_progress_step("trying the image", NULL);
	r = check(from, image, shop.log_fd, ret, err);
	image_progress_stop();
	if (r >= 0 && ret->failures == 0)
		workshop_drop_log(&shop);
	else
		log_error("%s (log: %s)", r < 0 ? err->text : "not all checks have passed",
			shop.log_path);
	return r;
}

static int run_check(const void *options_struct, int arg_count, const char *const *args)
{
	const struct check_options *o = options_struct;
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	struct imagecheck result AUTO(imagecheck_done) = {0};
	struct error err = {0};

	if (locate_image(args[0], &store, &image, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	image_progress_start(o->verbose);
	if (check_logged(image, store, &result, &err) < 0)
		return EXIT_WNODES;
	if (o->json)
		print_json(image, &result);
	else
		image_check_print(&result);
	return result.failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct verb verb_image_check = {
	.name = "image check",
	.synopsis = "[options] NAME[:TAG]",
	.summary = "Start an image and try it by its own checks",
	.about =
		"Starts a VM of the image and runs, as its root, the commands that the image's recipe "
		"has as [check ...]. Then it looks whether the image is fit to be given to others: it "
		"must have no authorized_keys, no account with a password or without need of one, no "
		"host key of ssh, and a list of its packages (dpkg or rpm). Images without a recipe, "
		"such as imported ones, are only looked at.\n"
		"\n"
		"The exit status is 0 if all is as it should be, 1 if not; then what the commands have "
		"written is in a log that is named. It is 125 if the VM did not start.",
	.examples = "wnodes image check debian\n"
		    "# What an endorser keeps\n"
		    "wnodes image check --json debian >debian-2026-11.json\n",
	.options = options,
	.options_size = sizeof(struct check_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "image",
	.run = run_check,
};
