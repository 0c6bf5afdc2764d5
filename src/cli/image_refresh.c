/* wnodes image refresh: the next version of an image. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "cli/image.h"
#include "cli/image_check.h"
#include "cli/image_progress.h"
#include "engine/refresh.h"
#include "image/locate.h"
#include "lib/child.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/path.h"

struct refresh_options {
	struct verb_list mirrors;
	const char *tag, *depot;
	bool rebuild, publish, json, verbose;
};

#define OPTION(name, type, member, argument, help)                                             \
	{                                                                                      \
		name, 0, type, offsetof(struct refresh_options, member), argument, NULL, NULL, \
			help                                                                   \
	}

static const struct verb_option options[] = {
	OPTION("rebuild", OPTION_FLAG, rebuild, NULL,
		"Builds the image again from its recipe, instead of upgrading a copy"),
	OPTION("tag", OPTION_STRING, tag, "TAG",
		"Tag of the new version; pending-YYYYMMDD by default"),
	OPTION("mirror", OPTION_LIST, mirrors, "URL|LINE",
		"Where an upgrade's packages come from this time, as in wnodes image build; by default "
		"what the image has in its sources.list. May be repeated"),
	OPTION("publish", OPTION_FLAG, publish, NULL,
		"Sends the new version to the site, as wnodes image publish --site does; it is pending "
		"there, and gets the old one's name when it is approved"),
	OPTION("depot", OPTION_STRING, depot, "DIRECTORY",
		"With --publish: puts it into this depot, instead of the site's"),
	OPTION("json", OPTION_FLAG, json, NULL, "JSON"),
	OPTION("verbose", OPTION_FLAG, verbose, NULL, "Says what is done"),
	{.name = NULL},
};

#define TAG_MAX            32
#define PUBLISH_TIMEOUT_MS (6 * 3600 * 1000)

static size_t count_changes(const char *changes)
{
	size_t count = 0;

	for (const char *p = changes; p && *p; p++)
		count += *p == '\n';
	return count;
}

static void print_changes(const char *changes)
{
	size_t count = count_changes(changes);

	if (changes)
		printf("%zu packages upgraded%s\n%s", count, count ? ":" : "", changes);
}

static json_t *changes_json(const char *changes)
{
	json_t *list = json_array();

	for (const char *p = changes ? changes : ""; *p;) {
		size_t n = strcspn(p, "\n");

		json_array_append_new(list, json_stringn(p, n));
		p += n + (p[n] == '\n');
	}
	return list;
}

static void print_json(const struct image *old, const char *tag, const struct refresh_result *r)
{
	json_t *root = json_pack("{s:s, s:s, s:b, s:o, s:o}", "name", old->name, "old", old->digest,
		"changed", r->changed, "checks", image_check_json(&r->checks), "upgraded",
		changes_json(r->changes));

	if (r->changed) {
		json_object_set_new(root, "tag", json_string(tag));
		json_object_set_new(root, "digest", json_string(r->digest));
	}
	if (r->log_path)
		json_object_set_new(root, "log", json_string(r->log_path));
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
	putchar('\n');
	json_decref(root);
}

static void print_text(const struct image *old, const char *tag, const struct refresh_result *r)
{
	print_changes(r->changes);
	image_check_print(&r->checks);
	if (r->changed)
		printf("%s:%s %.12s\n", old->name, tag, r->digest);
	else if (r->checks.count == 0)
		printf("%s:%s: nothing to upgrade\n", old->name, old->tag);
}

/* At the site it is to become what the old version is. */
static void add_site(const struct image *old, const struct refresh_result *r, struct strv *argv)
{
	strv_add_all(argv, "--site", "--as", NULL);
	strv_add_format(argv, "%s:%s", old->name, old->tag);
	strv_add(argv, "--reason");
	if (r->changes)
		strv_add_format(argv, "refresh of %.12s: %zu packages upgraded", old->digest,
			count_changes(r->changes));
	else
		strv_add_format(argv, "refresh of %.12s: built again", old->digest);
}

/* By the verb that does it, so that there is one way. */
static int publish(const struct refresh_options *o, const struct image *old, const char *tag,
	const struct refresh_result *result, struct error *err)
{
	autofree char *program = path_own_program("wnodes");
	struct strv argv AUTO(strv_done) = {0};
	struct child_spec spec = CHILD_SPEC_INIT;

	if (!program)
		return fail(err, -ENOMEM, "out of memory");
	strv_add_all(&argv, program, "image", "publish", NULL);
	if (o->depot)
		strv_add_all(&argv, "--depot", o->depot, NULL);
	else
		add_site(old, result, &argv);
	strv_add_format(&argv, "%s:%s", old->name, tag);
	if (argv.failed)
		return fail(err, -ENOMEM, "out of memory");
	spec.argv = strv_list(&argv);
	spec.stdout_fd = o->json ? -1 : STDOUT_FILENO;
	fflush(stdout);
	return child_run(&spec, PUBLISH_TIMEOUT_MS, err) < 0
		       ? fail_within(err, "%s:%s is there, but was not published", old->name, tag)
		       : 0;
}

static int refresh(const struct refresh_options *o, struct store *store, struct image *image,
	const char *tag, struct refresh_result *ret, struct error *err)
{
	struct settings settings AUTO(settings_done) = {0};
	struct refresh_request request = {
		.image = image,
		.settings = &settings,
		.rebuild = o->rebuild,
		.mirrors = o->mirrors.items,
		.tag = tag,
		.on_step = image_progress_step,
	};
	autofree char *reference = path_format("%s:%s", image->name, tag);
	autofree char *name = NULL, *same = NULL;
	int r = reference ? store_parse_reference(reference, &name, &same, err) : -ENOMEM;

	if (r >= 0 && streq(tag, image->tag))
		r = fail(err, -EINVAL,
			"the new version cannot have the old one's tag, '%s', before it was tried",
			tag);
	if (r >= 0 && o->depot && !o->publish)
		r = fail(err, -EINVAL, "--depot goes with --publish");
	if (r >= 0 && o->rebuild && o->mirrors.count > 0)
		r = fail(err, -EINVAL, "--mirror is for upgrades; a recipe has mirrors of its own");
	if (r >= 0)
		r = settings_load(&settings, err);
	if (r < 0)
		return r;
	request.cancel = image_progress_catch_signals();
	image_progress_start(o->verbose);
	r = refresh_image(store, &request, ret, err);
	image_progress_stop();
	return r == -ECANCELED && *request.cancel ? -ECANCELED : r;
}

/* An image by a digest has no name for its next version. */
static int find(const char *reference, struct store **ret_store, struct image **ret_image,
	struct error *err)
{
	int r = locate_own_image(reference, ret_store, ret_image, err);

	if (r < 0)
		return locate_explain_missing(reference, r, err);
	return (*ret_image)->name
		       ? 0
		       : fail(err, -EINVAL, "'%s' is a digest; an image to refresh has NAME[:TAG]",
				 reference);
}

static int run_refresh(const void *options_struct, int arg_count, const char *const *args)
{
	const struct refresh_options *o = options_struct;
	struct store *store AUTO(store_freep) = NULL;
	struct image *image AUTO(image_freep) = NULL;
	struct refresh_result result AUTO(refresh_done) = {0};
	time_t now = time(NULL);
	struct tm tm;
	char tag[TAG_MAX];
	struct error err = {0};
	int r = find(args[0], &store, &image, &err);

	strftime(tag, sizeof(tag), "pending-%Y%m%d", gmtime_r(&now, &tm));
	if (r >= 0)
		r = refresh(o, store, image, o->tag ? o->tag : tag, &result, &err);
	if (r < 0)
		log_error("%s", err.text);
	if (r < 0 && r != -EBADMSG)
		return EXIT_WNODES;
	if (o->json)
		print_json(image, o->tag ? o->tag : tag, &result);
	else
		print_text(image, o->tag ? o->tag : tag, &result);
	if (o->publish && result.changed &&
		publish(o, image, o->tag ? o->tag : tag, &result, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

const struct verb verb_image_refresh = {
	.name = "image refresh",
	.synopsis = "[options] NAME[:TAG]",
	.summary = "Make, try and name the next version of an image",
	.about =
		"Copies the disk of an image that you have built, starts a VM that writes to the copy, "
		"and upgrades all packages in it. Caches and logs are removed, the disk is trimmed, and "
		"a new kernel becomes the image's. What has not changed stays where it is on the disk, "
		"so that few chunks of it are new to those who have the old version. With --rebuild the "
		"image is built again from the recipe that is kept with it, which leaves nothing in its "
		"place.\n"
		"\n"
		"Then a VM of the new version is tried as wnodes image check does. Only if all is well "
		"it gets a name, NAME:pending-YYYYMMDD; the old version keeps its own. Where there is "
		"nothing to upgrade, that is said, and nothing is made. While that goes on, VMs start "
		"from the old version, and a refresh that is killed leaves only files that wnodes image "
		"gc removes.\n"
		"\n"
		"The exit status is 0 if there is a new version or nothing to upgrade, 1 if the new "
		"version failed a check, and 125 if it could not be made; the message names a log.",
	.examples = "wnodes image refresh debian\n"
		    "# Keep the old version, and take the new one\n"
		    "wnodes image tag debian debian:previous\n"
		    "wnodes image tag debian:pending-20261130 debian\n"
		    "# The way back\n"
		    "wnodes image tag debian:previous debian\n",
	.options = options,
	.options_size = sizeof(struct refresh_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "image",
	.run = run_refresh,
};
