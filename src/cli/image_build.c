/* wnodes image build: the options become a recipe, unless there is one. */
#include "image/build.h"

#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_progress.h"
#include "image/locate.h"
#include "lib/buffer.h"
#include "lib/log.h"
#include "lib/parse.h"
#include "lib/path.h"
#include "lib/strv.h"

struct build_options {
	const char *recipe, *suite, *script, *name, *tag, *init;
	uint64_t size;
	struct verb_list packages, mirrors;
	bool verbose;
};

#define OPTION(name, letter, type, member, argument, choices, complete, help)                  \
	{                                                                                      \
		name, letter, type, offsetof(struct build_options, member), argument, choices, \
			complete, help                                                         \
	}

static const struct verb_option options[] = {
	OPTION("recipe", 'r', OPTION_STRING, recipe, "FILE", NULL, "file",
		"Makes the image by this recipe, see wnodes.recipe(5); then the argument is its name"),
	OPTION("suite", 's', OPTION_STRING, suite, "SUITE", NULL, NULL,
		"Debian's release, for example bookworm (the default) or trixie"),
	OPTION("packages", 'p', OPTION_LIST, packages, "LIST", NULL, NULL,
		"More packages, separated by commas. May be repeated"),
	OPTION("script", 0, OPTION_STRING, script, "FILE", NULL, "file",
		"Program or shell script, of at most 96 KiB, that is run in the image, as root, when "
		"all packages are installed"),
	OPTION("name", 'n', OPTION_STRING, name, "NAME", NULL, NULL,
		"Name of the image; debian by default"),
	OPTION("tag", 't', OPTION_STRING, tag, "TAG", NULL, NULL,
		"Tag of the image; latest by default"),
	OPTION("size", 0, OPTION_SIZE, size, "SIZE", NULL, NULL,
		"Size of the root disk as the VM sees it; 10G by default. What is not used takes no "
		"room"),
	OPTION("init", 0, OPTION_CHOICE, init, "INIT", "wnodes|systemd", NULL,
		"What starts as the first process: WNoDeS's own agent and nothing else (the default, "
		"fast), or systemd"),
	OPTION("mirror", 0, OPTION_LIST, mirrors, "URL|LINE", NULL, NULL,
		"Where packages come from: a URL, or a whole line of sources.list. By default what "
		"this host uses for the suite, else deb.debian.org. May be repeated"),
	OPTION("verbose", 0, OPTION_FLAG, verbose, NULL, NULL, NULL, "Says what is done"),
	{.name = NULL},
};

static bool has_line_end(const struct verb_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (strpbrk(list->items[i], "\r\n"))
			return true;
	return false;
}

/* A value with a line end would be another line of the recipe. */
static int check_values(const struct build_options *o, struct error *err)
{
	if (has_line_end(&o->packages) || has_line_end(&o->mirrors) ||
		(o->suite && strpbrk(o->suite, "\r\n")) ||
		(o->script && strpbrk(o->script, "\r\n")))
		return fail(err, -EINVAL, "an option's value has more than one line");
	return 0;
}

static int add_line(struct buffer *text, const char *key, const char *value)
{
	autofree char *line = path_format("%s%s%s\n", key ? key : "", key ? " = " : "", value);

	return line ? buffer_append(text, line, strlen(line)) : -ENOMEM;
}

/* "KEY = VALUE" for each. */
static int add_list(struct buffer *text, const char *key, const struct verb_list *list)
{
	int r = 0;

	for (size_t i = 0; i < list->count && r == 0; i++)
		r = list->items[i][strspn(list->items[i], ", \t")]
			    ? add_line(text, key, list->items[i])
			    : 0;
	return r;
}

static int add_options(struct buffer *text, const struct build_options *o)
{
	char size[FORMAT_MAX];
	int r = add_line(text, NULL, "[image]");

	snprintf(size, sizeof(size), "%llu", (unsigned long long)o->size);
	if (r == 0 && o->suite)
		r = add_line(text, "suite", o->suite);
	if (r == 0)
		r = add_list(text, "mirror", &o->mirrors);
	if (r == 0)
		r = add_list(text, "packages", &o->packages);
	if (r == 0 && o->size)
		r = add_line(text, "size", size);
	if (r == 0 && o->init)
		r = add_line(text, "init", o->init);
	if (r == 0 && o->script)
		r = add_line(text, "script", o->script);
	return r;
}

/* What the options say, as a recipe. */
static int compose(const struct build_options *o, struct recipe **ret, struct error *err)
{
	struct buffer text AUTO(buffer_done) = {0};
	int r = check_values(o, err);

	if (r < 0)
		return r;
	if (add_options(&text, o) < 0)
		return fail(err, -ENOMEM, "out of memory");
	return recipe_parse((const char *)buffer_head(&text), text.len,
		"the recipe of these options", ".", ret, err);
}

/* The last part of a path, for people. */
static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* What stands in the image's manifest about its making. */
static char *make_origin(const struct build_options *o, const struct recipe *recipe)
{
	struct strv words AUTO(strv_done) = {0};
	char *text = NULL;

	if (o->recipe)
		return path_format("wnodes image build --recipe %s (%s)", base_name(o->recipe),
			recipe->image.suite);
	strv_add_format(&words, "wnodes image build debian --suite %s%s", recipe->image.suite,
		streq(recipe->image.init, "systemd") ? " --init systemd" : "");
	for (size_t i = 0; recipe->image.packages[i]; i++)
		strv_add_format(
			&words, "%s%s", i == 0 ? " --packages " : ",", recipe->image.packages[i]);
	if (o->script)
		strv_add_format(&words, " --script %s", base_name(o->script));
	for (size_t i = 0; i < words.count; i++) {
		autofree char *before = text;

		text = path_format("%s%s", before ? before : "", words.items[i]);
	}
	return text;
}

/* What a recipe says, options do not say as well. */
static int check_recipe_options(const struct build_options *o, struct error *err)
{
	const struct {
		const char *name;
		bool given;
	} others[] = {
		{"suite", o->suite},
		{"script", o->script},
		{"init", o->init},
		{"size", o->size},
		{"packages", o->packages.count},
		{"mirror", o->mirrors.count},
	};

	if (o->name)
		return fail(err, -EINVAL,
			"--name does not go with --recipe: the argument is the image's name");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i].given)
			return fail(err, -EINVAL, "--%s does not go with --recipe, which says it",
				others[i].name);
	return 0;
}

static int build(const struct build_options *o, struct build_request *request,
	char ret_digest[DIGEST_HEX_SIZE], struct error *err)
{
	struct recipe *recipe AUTO(recipe_freep) = NULL;
	struct store *store AUTO(store_freep) = NULL;
	autofree char *origin = NULL;
	int r = o->recipe ? check_recipe_options(o, err) : 0;

	if (r >= 0)
		r = o->recipe ? recipe_load(o->recipe, &recipe, err) : compose(o, &recipe, err);
	if (r < 0)
		return r;
	origin = make_origin(o, recipe);
	if (!origin)
		return fail(err, -ENOMEM, "out of memory");
	request->recipe = recipe;
	request->origin = origin;
	r = locate_own_store(&store, err);
	if (r < 0)
		return r;
	image_progress_start(o->verbose);
	r = build_debian(store, request, ret_digest, err);
	image_progress_stop();
	return r;
}

/* The image's name: an option's, or with a recipe the argument. */
static int find_name(const struct build_options *o, const char *argument, char **ret_name,
	char **ret_tag, struct error *err)
{
	autofree char *reference = path_format("%s%s%s",
		o->recipe ? argument
		: o->name ? o->name
			  : "debian",
		o->tag ? ":" : "", o->tag ? o->tag : "");

	if (!o->recipe && !streq(argument, "debian"))
		return fail(err, -EINVAL,
			"cannot build '%s': only debian can be built, or by --recipe what a recipe "
			"says; others can be imported, see wnodes image import --help",
			argument);
	return reference ? store_parse_reference(reference, ret_name, ret_tag, err)
			 : fail(err, -ENOMEM, "out of memory");
}

static int run_build(const void *options_struct, int arg_count, const char *const *args)
{
	const struct build_options *o = options_struct;
	autofree char *name = NULL, *tag = NULL;
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};
	int r = find_name(o, args[0], &name, &tag, &err);
	struct build_request request = {
		.name = name,
		.tag = tag,
		.on_step = image_progress_step,
		.cancel = image_progress_catch_signals(),
	};

	if (r >= 0)
		r = build(o, &request, digest, &err);
	if (r < 0) {
		log_error("%s", err.text);
		return r == -ECANCELED && *request.cancel ? 128 + *request.cancel : EXIT_WNODES;
	}
	printf("%s:%s %.12s\n", name, tag, digest);
	return EXIT_SUCCESS;
}

const struct verb verb_image_build = {
	.name = "image build",
	.synopsis = "[options] debian|NAME[:TAG]",
	.summary = "Make an image of Debian on this machine",
	.about =
		"Installs Debian with a kernel and the packages that you name into a disk image, and "
		"adds it to your images as NAME:TAG. An image of that name and tag is replaced; VMs "
		"that run from it are not disturbed.\n"
		"\n"
		"Neither root, nor a mount, nor a loop device is needed. The programs mmdebstrap, "
		"mke2fs, fakeroot (for users who are not root) and xz do the work. Documentation, "
		"translations and drivers of hardware that no VM has are left out.\n"
		"\n"
		"What the options do not reach is in a recipe: files to write and to edit, kernel "
		"modules, services, the syslog of the site, a script, and checks by which wnodes image "
		"check and wnodes image refresh try the image. It is kept with the image, and so is "
		"what the options say: who may read the image may read its recipe. See "
		"wnodes.recipe(5).\n"
		"\n"
		"With --init wnodes the VM has no services: the agent is its first process, mounts "
		"what programs expect, and runs the command. With --init systemd the VM starts as a "
		"machine does, which takes longer.\n"
		"\n"
		"When a program fails, its output is kept in the cache directory, and the message "
		"names the file. A build that a signal ends gives 128 + the signal's number; one that "
		"is killed leaves files that wnodes image gc removes.",
	.examples = "# Debian 12 with Python and NumPy, as debian:latest\n"
		    "wnodes image build debian --packages python3,python3-numpy\n"
		    "# Debian 13 with what a script adds\n"
		    "wnodes image build debian --suite trixie --name analysis --script setup.sh\n"
		    "# What a recipe says, as worker:latest\n"
		    "wnodes image build worker --recipe worker.recipe\n",
	.options = options,
	.options_size = sizeof(struct build_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "=debian",
	.run = run_build,
};
