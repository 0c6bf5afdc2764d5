/* wnodes imagelist update: all subscriptions, or some, follow their lists. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli/image_progress.h"
#include "cli/imagelist.h"
#include "cli/imagelist_round.h"
#include "imagelist/plan.h"
#include "imagelist/subscription.h"
#include "lib/log.h"
#include "lib/printable.h"

struct update_options {
	const char *file;
	bool json, dry_run, quiet, verbose;
};

static const struct verb_option update_rows[] = {
	{"dry-run", 'n', OPTION_FLAG, offsetof(struct update_options, dry_run),
		.help = "Fetches and checks the lists, and shows what would be done"},
	{"file", 'f', OPTION_STRING, offsetof(struct update_options, file), "FILE|URL",
		.help = "Takes the list of the one subscription that is named from here instead",
		.complete = "file"},
	{"json", 0, OPTION_FLAG, offsetof(struct update_options, json),
		.help = "Prints JSON: an array with what happened to each subscription"},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct update_options, quiet),
		.help = "Prints nothing where nothing changes, for timers"},
	{"verbose", 0, OPTION_FLAG, offsetof(struct update_options, verbose),
		.help = "Says what is done"},
	{.name = NULL},
};

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

/* Lists are from elsewhere, and terminals obey. */
static void print_line(const char *format, ...) PRINTF(1, 2);
static void print_line(const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printable_make_line(text, strlen(text));
	puts(text);
}

/* Is it worth a line? What is not for this machine is, when people look. */
static bool is_news(const json_t *image, bool quiet)
{
	const char *action = text_of(image, "action");

	return !streq(action, plan_word(PLAN_KEEP)) &&
	       !(quiet && streq(action, plan_word(PLAN_SKIP)));
}

static bool has_news(const json_t *result, bool quiet)
{
	const json_t *images = json_object_get(result, "images");

	for (size_t i = 0; i < json_array_size(images); i++)
		if (is_news(json_array_get(images, i), quiet))
			return true;
	return false;
}

static void print_image(const json_t *image)
{
	bool named = json_is_string(json_object_get(image, "reference"));
	bool reasoned = json_is_string(json_object_get(image, "reason"));

	print_line("  %-8s %s %s%s%s", text_of(image, "action"),
		text_of(image, named ? "reference" : "title"),
		json_is_string(json_object_get(image, "version")) ? text_of(image, "version") : "",
		reasoned ? ": " : "", reasoned ? text_of(image, "reason") : "");
}

/* What the site was told. */
static void print_site(const json_t *result)
{
	const json_t *rows = json_object_get(result, "site");

	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		bool reasoned = json_is_string(json_object_get(row, "reason"));

		print_line("  at the site, %s %s%s%s", text_of(row, "action"),
			text_of(row, "reference"), reasoned ? ": " : "",
			reasoned ? text_of(row, "reason") : "");
	}
}

static void print_result(const struct update_options *o, const json_t *result)
{
	const json_t *images = json_object_get(result, "images");
	const json_t *warnings = json_object_get(result, "warnings");
	const char *name = text_of(result, "name");

	for (size_t i = 0; i < json_array_size(warnings) && !o->quiet; i++)
		log_warning("%s: %s", name, json_string_value(json_array_get(warnings, i)));
	if (json_object_get(result, "version") && (!o->quiet || has_news(result, true)))
		print_line("%s: version %s, endorsed by %s until %s%s", name,
			text_of(result, "version"), text_of(result, "endorser"),
			text_of(result, "expires"),
			has_news(result, o->quiet) ? o->dry_run ? "; this would be done:" : ""
						   : "; nothing is new");
	for (size_t i = 0; i < json_array_size(images); i++)
		if (is_news(json_array_get(images, i), o->quiet))
			print_image(json_array_get(images, i));
	print_site(result);
	if (json_is_string(json_object_get(result, "error")))
		log_error("%s: %s", name, text_of(result, "error"));
	fflush(stdout);
}

static int update_one(
	const struct update_options *o, const char *directory, const char *name, json_t *results)
{
	struct imagelist_round_options options = {.dry_run = o->dry_run, .file = o->file};
	json_t *result = NULL;
	int status;

	image_progress_start(o->verbose);
	status = imagelist_round(directory, name, &options, &result);
	image_progress_stop();
	if (!o->json)
		print_result(o, result);
	json_array_append_new(results, result);
	return status;
}

static int collect_names(const char *directory, int arg_count, const char *const *args,
	struct strv *ret, struct error *err)
{
	int r = arg_count > 0 ? 0 : subscription_names(directory, ret, err);

	for (int i = 0; i < arg_count; i++)
		strv_add(ret, args[i]);
	return ret->failed ? fail(err, -ENOMEM, "out of memory") : r;
}

/* The exit status is that of the first that failed. */
static int update(const struct update_options *o, const char *directory, const struct strv *names)
{
	json_t *results = json_array();
	int status = EXIT_SUCCESS;

	for (size_t i = 0; i < names->count; i++) {
		int one = update_one(o, directory, names->items[i], results);

		status = status ? status : one;
	}
	if (o->json) {
		json_dumpf(results, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
	}
	json_decref(results);
	return status;
}

static int run_update(const void *options, int arg_count, const char *const *args)
{
	const struct update_options *o = options;
	struct strv names AUTO(strv_done) = {0};
	autofree char *directory = subscription_directory();
	struct error err = {.text = "out of memory"};
	int r = directory ? collect_names(directory, arg_count, args, &names, &err) : -ENOMEM;

	if (r == 0 && o->file && arg_count != 1)
		r = fail(&err, -EINVAL, "--file is for one subscription, which must be named");
	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	return update(o, directory, &names);
}

const struct verb verb_imagelist_update = {
	.name = "imagelist update",
	.synopsis = "[options] [NAME...]",
	.summary = "Bring the images of lists up to date",
	.about =
		"Fetches the lists of all subscriptions, or of those that are named, checks each, and "
		"makes your images follow it: new and changed images are downloaded, their size and "
		"SHA-512 compared with the list's, and imported; images that left their list, or "
		"whose time or whose list's time is over, lose their names. VMs that run are not "
		"disturbed. An image that cannot be used here (another architecture, another "
		"hypervisor) is skipped.\n"
		"\n"
		"Of a list that is refused nothing is taken: the one before goes on to hold until it "
		"expires, unless the certificate that signed it has been revoked. A download that was "
		"cut off is gone on with by the next update.\n"
		"\n"
		"The exit status is 0, or that of the first subscription that failed: 11 no valid "
		"signature by a trusted certificate, 12 signed by another than its endorser, 13 an "
		"endorser who is none of the subscription, 31 another list, 33 made in the future, "
		"34 expired, 35 older than the one before, 37 no JSON, 38 no image list, 40 taken but "
		"some image could not be had, 41 taken but the site was not told of all, 125 "
		"everything else, as a server that does not answer.",
	.examples = "wnodes imagelist update\n"
		    "# What would change?\n"
		    "wnodes imagelist update --dry-run egi\n"
		    "# From cron or a systemd timer\n"
		    "wnodes imagelist update --quiet\n",
	.options = update_rows,
	.options_size = sizeof(struct update_options),
	.max_args = -1,
	.run = run_update,
};
