/* wnodes imagelist list and show. */
#include <errno.h>

#include "cli/imagelist.h"
#include "cli/table.h"
#include "imagelist/subscription.h"
#include "lib/log.h"
#include "lib/timestamp.h"

struct list_options {
	bool json, quiet;
};

static const struct verb_option list_rows[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct list_options, json), .help = "Prints JSON"},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct list_options, quiet),
		.help = "Prints names only"},
	{.name = NULL},
};

static const struct verb_option show_rows[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct list_options, json), .help = "Prints JSON"},
	{.name = NULL},
};

static const struct table_column list_columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"title", "TITLE", TABLE_TEXT},
	{"version", "VERSION", TABLE_TEXT},
	{"image_count", "IMAGES", TABLE_NUMBER},
	{"updated", "UPDATED", TABLE_TIME},
	{"expires", "EXPIRES", TABLE_TIME},
	{"state", "STATE", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column show_columns[] = {
	{"name", "Subscription", TABLE_TEXT},
	{"source", "List at", TABLE_TEXT},
	{"title", "Title", TABLE_TEXT},
	{"identifier", "Identifier", TABLE_TEXT},
	{"version", "Version", TABLE_TEXT},
	{"created", "Made", TABLE_TIME},
	{"expires", "Expires", TABLE_TIME},
	{"updated", "Updated", TABLE_TIME},
	{"state", "State", TABLE_TEXT},
	{"failure", "Last update failed", TABLE_TEXT},
	{"signer_dn", "Signed by", TABLE_TEXT},
	{"signer_ca", "Certificate of", TABLE_TEXT},
	{"endorser_names", "Endorsers", TABLE_TEXT},
	{"ca", "Authorities", TABLE_TEXT},
	{"crl", "Revocation lists", TABLE_TEXT},
	{"tag", "Tag of images", TABLE_TEXT},
	{"site", "Published at the site", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column image_columns[] = {
	{"reference", "IMAGE", TABLE_TEXT},
	{"version", "VERSION", TABLE_TEXT},
	{"digest", "DIGEST", TABLE_DIGEST},
	{"since", "SINCE", TABLE_TIME},
	{"expires", "EXPIRES", TABLE_TIME},
	{"gone", "GONE BECAUSE", TABLE_TEXT},
	{.key = NULL},
};

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *time_or_null(uint64_t us)
{
	char text[TIMESTAMP_TEXT_SIZE];

	return us > 0 ? json_string(timestamp_format(us, text)) : json_null();
}

static const char *state_of(const struct subscription *s)
{
	if (!s->version)
		return s->failure ? "refused" : "new";
	if (timestamp_now_us() > s->expires_us)
		return "expired";
	return s->failure ? "failing" : "current";
}

static json_t *images_of(const struct subscription *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->image_count; i++) {
		const struct subscription_image *image = &s->images[i];

		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:o, s:o}", "identifier",
				image->identifier, "reference", image->reference, "title",
				image->title, "version", image->version, "sha512", image->sha512,
				"digest", image->digest, "gone", image->gone, "since",
				time_or_null(image->since_us), "expires",
				time_or_null(image->expires_us)));
	}
	return list;
}

static json_t *endorsers_of(const struct subscription *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->endorser_count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "dn", s->endorsers[i].dn, "ca",
						    s->endorsers[i].ca));
	return list;
}

static json_t *choices_of(const struct subscription *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->choice_count; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:s?}", "identifier", s->choices[i].identifier,
				      "reference", s->choices[i].reference));
	return list;
}

static json_t *row_of(const struct subscription *s)
{
	autofree char *source = subscription_public_source(s->source);
	json_t *row = json_pack("{s:s, s:s?, s:s, s:b, s:b, s:s, s:s}", "name", s->name, "source",
		source, "ca", s->ca, "crl", !s->no_crl, "site", s->site != NULL, "tag", s->tag,
		"state", state_of(s));
	json_int_t present = 0;

	for (size_t i = 0; i < s->image_count; i++)
		present += !s->images[i].gone;
	json_object_set_new(row, "title", text_or_null(s->title));
	json_object_set_new(row, "identifier", text_or_null(s->identifier));
	json_object_set_new(row, "version", text_or_null(s->version));
	json_object_set_new(row, "failure", text_or_null(s->failure));
	json_object_set_new(row, "signer_dn", text_or_null(s->signer_dn));
	json_object_set_new(row, "signer_ca", text_or_null(s->signer_ca));
	json_object_set_new(row, "created", time_or_null(s->created_us));
	json_object_set_new(row, "expires", time_or_null(s->expires_us));
	json_object_set_new(row, "updated", time_or_null(s->updated_us));
	json_object_set_new(row, "endorsers", endorsers_of(s));
	json_object_set_new(row, "choices", choices_of(s));
	json_object_set_new(row, "image_count", json_integer(present));
	json_object_set_new(row, "images", images_of(s));
	return row;
}

static int load(const char *name, json_t **ret, struct error *err)
{
	struct subscription *s AUTO(subscription_freep) = NULL;
	autofree char *directory = subscription_directory();
	int r = directory ? subscription_load(directory, name, &s, err)
			  : fail(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	*ret = row_of(s);
	return *ret ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int list(const struct list_options *o, struct error *err)
{
	struct table *table AUTO(table_freep) = table_new(list_columns);
	struct strv names AUTO(strv_done) = {0};
	autofree char *directory = subscription_directory();
	int r = table && directory ? subscription_names(directory, &names, err) : -ENOMEM;

	for (size_t i = 0; i < names.count && r == 0; i++) {
		json_t *row = NULL;

		r = load(names.items[i], &row, err);
		if (r == 0)
			r = table_add(table, row);
	}
	if (r < 0)
		return r;
	if (o->json)
		return table_print_json(table, stdout);
	if (!o->quiet)
		return table_print(table, stdout);
	table_print_member(table, "name", stdout);
	return 0;
}

static int run_list(const void *options, int arg_count, const char *const *args)
{
	struct error err = {.text = "out of memory"};

	if (list(options, &err) == 0)
		return EXIT_SUCCESS;
	log_error("%s", err.text);
	return EXIT_WNODES;
}

static int print_images(const json_t *row)
{
	struct table *table AUTO(table_freep) = table_new(image_columns);
	const json_t *images = json_object_get(row, "images");
	int r = table ? 0 : -ENOMEM;

	for (size_t i = 0; i < json_array_size(images) && r == 0; i++)
		r = table_add(table, json_incref(json_array_get(images, i)));
	if (r < 0 || json_array_size(images) == 0)
		return r;
	putchar('\n');
	return table_print(table, stdout);
}

/* Names only, for the line of people. */
static void add_names(json_t *row)
{
	const json_t *endorsers = json_object_get(row, "endorsers");
	json_t *names = json_array();

	for (size_t i = 0; i < json_array_size(endorsers); i++)
		json_array_append(names, json_object_get(json_array_get(endorsers, i), "dn"));
	json_object_set_new(row, "endorser_names", names);
}

static int show(const struct list_options *o, const char *name, struct error *err)
{
	struct table *table AUTO(table_freep) = table_new(show_columns);
	json_t *row = NULL;
	int r = table ? load(name, &row, err) : -ENOMEM;

	if (r < 0)
		return r;
	if (!o->json)
		add_names(row);
	r = table_add(table, json_incref(row));
	if (r == 0)
		r = o->json ? table_print_json_record(table, stdout)
			    : table_print_record(table, stdout);
	if (r == 0 && !o->json)
		r = print_images(row);
	json_decref(row);
	return r;
}

static int run_show(const void *options, int arg_count, const char *const *args)
{
	struct error err = {.text = "out of memory"};

	if (show(options, args[0], &err) == 0)
		return EXIT_SUCCESS;
	log_error("%s", err.text);
	return EXIT_WNODES;
}

const struct verb verb_imagelist_list = {
	.name = "imagelist list",
	.synopsis = "[options]",
	.summary = "List the lists of images that are followed",
	.about = "Lists subscriptions: which version of each list was taken last, how many of its "
		 "images are here, and how it stands: new (no update yet), current, failing (the "
		 "last update took no list, the one before still holds), expired, or refused (no "
		 "list was ever taken).",
	.examples =
		"wnodes imagelist list\n"
		"wnodes imagelist list --json | jq -r '.[] | select(.state != \"current\").name'\n",
	.options = list_rows,
	.options_size = sizeof(struct list_options),
	.max_args = 0,
	.run = run_list,
};

const struct verb verb_imagelist_show = {
	.name = "imagelist show",
	.synopsis = "[options] NAME",
	.summary = "Show a subscription and its images",
	.about =
		"Shows what a subscription is to, the list that was taken last, and all images that "
		"it has brought, also those that are gone, with the reason.",
	.examples = "wnodes imagelist show egi\n",
	.options = show_rows,
	.options_size = sizeof(struct list_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_show,
};
