/* wnodes image endorse, approve, expire and revoke: whether VMs of the site may start from one. */
#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_site.h"
#include "cli/site_verb.h"
#include "lib/timestamp.h"

struct state_options {
	const char *reason, *expires;
	bool json;
};

#define REASON                                                                                \
	{                                                                                     \
		"reason", 'r', OPTION_STRING, offsetof(struct state_options, reason), "TEXT", \
			.help = "Why; it is needed, and is kept for ever"                     \
	}
#define EXPIRES(what)                                                                         \
	{                                                                                     \
		"expires", 0, OPTION_STRING, offsetof(struct state_options, expires), "TIME", \
			.help = what                                                          \
	}

static const struct verb_option good_rows[] = {
	REASON,
	EXPIRES("Until when it is good: 2027-01-31T00:00:00Z, or 30d from now"),
	SITE_JSON_OPTION(struct state_options),
	{.name = NULL},
};

static const struct verb_option expire_rows[] = {
	REASON,
	EXPIRES("When: 2027-01-31T00:00:00Z, or 30d from now; by default at once"),
	SITE_JSON_OPTION(struct state_options),
	{.name = NULL},
};

static const struct verb_option revoke_rows[] = {
	REASON,
	SITE_JSON_OPTION(struct state_options),
	{.name = NULL},
};

static const struct table_column vm_columns[] = {
	{"name", "VM", TABLE_TEXT},
	{"node", "NODE", TABLE_TEXT},
	{"user", "USER", TABLE_TEXT},
	{"job", "JOB", TABLE_TEXT},
	{"state", "STATE", TABLE_TEXT},
	{.key = NULL},
};

static const char *text_of(json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

/* Asks for it, based on the image as it is now. */
static int change(
	const char *reference, const char *verb, const struct state_options *o, json_t **ret)
{
	struct site_path path AUTO(site_path_done) = {0};
	char until[TIMESTAMP_TEXT_SIZE] = "", revision[32];
	struct error err = {0};
	json_t *image = NULL;
	int status;

	if (!o->reason || !*o->reason)
		return site_verb_fail("say why: --reason TEXT");
	if (o->expires && image_site_parse_time(o->expires, until, &err) < 0)
		return site_verb_fail("%s", err.text);
	status = image_site_get(reference, &image);
	if (status)
		return status;
	site_path_init(&path, "images", text_of(image, "digest"), verb, NULL);
	snprintf(revision, sizeof(revision), "%lld",
		(long long)json_integer_value(json_object_get(image, "revision")));
	status = site_verb_change("POST", &path,
		json_pack("{s:s, s:s*}", "reason", o->reason, "expires", until[0] ? until : NULL),
		revision, ret);
	json_decref(image);
	return status;
}

static int tell(const struct state_options *o, json_t *image, const char *what)
{
	char name[160];

	snprintf(
		name, sizeof(name), "%s (%.12s)", text_of(image, "name"), text_of(image, "digest"));
	return site_verb_tell(o->json, image, "%s is %s", name, what);
}

static int run_endorse(const void *options, int arg_count, const char *const *args)
{
	json_t *image = NULL;
	int status = change(args[0], "endorse", options, &image);

	return status ? status : tell(options, image, "endorsed");
}

static int run_approve(const void *options, int arg_count, const char *const *args)
{
	json_t *image = NULL;
	int status = change(args[0], "approve", options, &image);

	return status ? status : tell(options, image, "approved: VMs may start from it");
}

static int run_expire(const void *options, int arg_count, const char *const *args)
{
	json_t *image = NULL;
	int status = change(args[0], "expire", options, &image);
	bool now = !status && streq(text_of(image, "state"), "expired");

	if (status)
		return status;
	return tell(options, image,
		now ? "expired: nothing starts from it any more"
		    : "good until then: see wnodes image list --site");
}

/* Those that still run are for people to end. */
static int print_vms(json_t *image)
{
	struct table *table AUTO(table_freep) = table_new(vm_columns);
	json_t *vm;
	size_t i;
	int r = table ? 0 : -ENOMEM;

	json_array_foreach(json_object_get(image, "vms"), i, vm) if (r == 0) r =
		table_add(table, json_incref(vm));
	return r < 0 ? r : table_print(table, stdout);
}

static int run_revoke(const void *options, int arg_count, const char *const *args)
{
	const struct state_options *o = options;
	json_t *image = NULL;
	int status = change(args[0], "revoke", options, &image);
	long long count;

	if (status || o->json)
		return status ? status : site_verb_tell(true, image, "%s", "");
	count = json_integer_value(json_object_get(image, "vm_count"));
	printf("%s (%.12s) is revoked; ", text_of(image, "name"), text_of(image, "digest"));
	if (count > 0)
		printf("%lld VM%s still run%s it:\n", count, count == 1 ? "" : "s",
			count == 1 ? "s" : "");
	else
		puts("no VM runs it");
	status = count > 0 && print_vms(image) < 0 ? EXIT_WNODES : EXIT_SUCCESS;
	json_decref(image);
	return status;
}

#define IMAGE_IS                                                                                \
	"IMAGE is NAME[:TAG] of the site's catalogue, or the first digits (at least eight) of " \
	"a digest."

const struct verb verb_image_endorse = {
	.name = "image endorse",
	.synopsis = "--reason TEXT [options] IMAGE",
	.summary = "Vouch for an image of the site",
	.about = "Says that an image which is pending, or a user's private image, is fit for the "
		 "site; an administrator may approve it then. For endorsers. " IMAGE_IS,
	.examples = "wnodes image endorse el9:2026-12 --reason 'built from our recipe, checked'\n",
	.options = good_rows,
	.options_size = sizeof(struct state_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_endorse,
};

const struct verb verb_image_approve = {
	.name = "image approve",
	.synopsis = "--reason TEXT [options] IMAGE",
	.summary = "Let VMs of the site start from an image",
	.about =
		"Approves an image that is endorsed: VMs start from it until it expires, and the "
		"tag that it was published with stands for it from now on. An image that is approved "
		"gets another time to expire; one that is expired is good again. For administrators "
		"of the site. " IMAGE_IS,
	.examples = "wnodes image approve el9:2026-12 --reason 'ran for a week' --expires 90d\n",
	.options = good_rows,
	.options_size = sizeof(struct state_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_approve,
};

const struct verb verb_image_expire = {
	.name = "image expire",
	.synopsis = "--reason TEXT [options] IMAGE",
	.summary = "End an image of the site, now or later",
	.about = "Nothing starts from an image that is expired; what runs goes on. For "
		 "administrators, for who has endorsed the image, and for the owner of a private "
		 "one. " IMAGE_IS,
	.examples = "wnodes image expire el9:2026-10 --reason 'superseded' --expires 14d\n",
	.options = expire_rows,
	.options_size = sizeof(struct state_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_expire,
};

const struct verb verb_image_revoke = {
	.name = "image revoke",
	.synopsis = "--reason TEXT [options] IMAGE",
	.summary = "End an image of the site for ever",
	.about = "Within some seconds nothing starts from it on any node, and never again. The VMs "
		 "that still run it are listed; they go on until somebody ends them. For "
		 "administrators of the site, and for the owner of a private image. " IMAGE_IS,
	.examples = "wnodes image revoke el9:2026-10 --reason 'CVE-2026-1234'\n",
	.options = revoke_rows,
	.options_size = sizeof(struct state_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_revoke,
};
