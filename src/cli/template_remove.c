/* wnodes template remove and gc. */
#include <errno.h>
#include <stdio.h>

#include "cli/template.h"
#include "engine/local.h"
#include "engine/settings.h"
#include "lib/log.h"
#include "lib/parse.h"

struct remove_options {
	bool all;
};

struct gc_options {
	bool dry_run;
};

static const struct verb_option remove_options[] = {
	{"all", 'a', OPTION_FLAG, offsetof(struct remove_options, all),
		.help = "Removes all templates that are not in use"},
	{.name = NULL},
};

static const struct verb_option gc_options[] = {
	{"dry-run", 'n', OPTION_FLAG, offsetof(struct gc_options, dry_run),
		.help = "Removes nothing, only says what would be"},
	{.name = NULL},
};

/* What `name` means, and what became of it. */
struct removal {
	const char *directory;
	const char *name; /* NULL: all */
	unsigned int found, failed;
};

static bool is_meant(const struct template_info *info, const char *name)
{
	autofree char *reference = NULL;

	if (!name || str_after(info->key, name) || streq(info->image_name, name))
		return true;
	return asprintf(&reference, "%s:%s", info->image_name, info->image_tag) >= 0 &&
	       streq(reference, name);
}

static int remove_one(const struct template_info *info, void *userdata)
{
	struct removal *removal = userdata;
	struct error err = {0};
	int r;

	if (!is_meant(info, removal->name))
		return 0;
	removal->found++;
	r = template_remove(removal->directory, info->key, &err);
	if (r < 0 && r != -ENOENT && !(r == -EBUSY && !removal->name)) {
		log_error("%s", err.text);
		removal->failed++;
	}
	return 0;
}

static int remove_named(const char *directory, const char *name)
{
	struct removal removal = {.directory = directory, .name = name};
	struct error err = {0};

	if (template_list(directory, remove_one, &removal, &err) < 0)
		log_error("%s", err.text);
	else if (name && removal.found == 0)
		log_error("there is no template '%s'; see `wnodes template list`", name);
	else if (removal.failed == 0)
		return EXIT_SUCCESS;
	return EXIT_WNODES;
}

static int run_remove(const void *options_struct, int arg_count, const char *const *args)
{
	const struct remove_options *o = options_struct;
	autofree char *directory = local_templates();
	int status = EXIT_SUCCESS;

	if (!directory || (arg_count == 0 && !o->all)) {
		log_error("name a template, as `wnodes template list` does, or say --all");
		return EXIT_WNODES;
	}
	if (o->all)
		return remove_named(directory, NULL);
	for (int i = 0; i < arg_count; i++)
		if (remove_named(directory, args[i]) != EXIT_SUCCESS)
			status = EXIT_WNODES;
	return status;
}

static int run_gc(const void *options_struct, int arg_count, const char *const *args)
{
	const struct gc_options *o = options_struct;
	struct settings settings AUTO(settings_done) = {0};
	autofree char *directory = local_templates();
	struct error err = {.text = "out of memory"};
	uint64_t count = 0, bytes = 0;
	char size[FORMAT_MAX];

	if (!directory || settings_load(&settings, &err) < 0 ||
		template_gc(directory, settings.template_budget, o->dry_run, &count, &bytes, &err) <
			0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	printf("%s %llu %s, %s\n", o->dry_run ? "would remove" : "removed",
		(unsigned long long)count, count == 1 ? "template" : "templates",
		format_size(bytes, size));
	return EXIT_SUCCESS;
}

const struct verb verb_template_remove = {
	.name = "template remove",
	.synopsis = "[options] TEMPLATE|NAME[:TAG]...",
	.summary = "Remove templates",
	.about = "Removes templates: one by the first digits of its name, or all of an image. One "
		 "that a running VM was cloned from is in use and stays.",
	.examples = "wnodes template remove 3fc01a\n"
		    "wnodes template remove debian\n"
		    "wnodes template remove --all\n",
	.options = remove_options,
	.options_size = sizeof(struct remove_options),
	.min_args = 0,
	.max_args = -1,
	.args_complete = "image",
	.run = run_remove,
};

const struct verb verb_template_gc = {
	.name = "template gc",
	.synopsis = "[options]",
	.summary = "Give back the room of templates that are not needed",
	.about = "Removes what makers that were killed have left, templates that are damaged, and "
		 "then those that were not used for the longest time until the others fit into "
		 "[template] budget of wnodes.conf. What is in use stays.",
	.examples = "wnodes template gc --dry-run\n",
	.options = gc_options,
	.options_size = sizeof(struct gc_options),
	.max_args = 0,
	.run = run_gc,
};
