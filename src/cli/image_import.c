/* wnodes image import: the options become an import_request. */
#include "image/import.h"

#include <errno.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_progress.h"
#include "engine/probe.h"
#include "image/locate.h"
#include "lib/log.h"
#include "lib/path.h"

struct import_options {
	const char *name, *tag, *format, *sha256;
	bool check, verbose;
};

#define OPTION(name, letter, type, member, argument, choices, complete, help)                   \
	{                                                                                       \
		name, letter, type, offsetof(struct import_options, member), argument, choices, \
			complete, help                                                          \
	}

static const struct verb_option options[] = {
	OPTION("name", 'n', OPTION_STRING, name, "NAME", NULL, NULL,
		"Name of the image; by default the file's name without its ending"),
	OPTION("tag", 't', OPTION_STRING, tag, "TAG", NULL, NULL,
		"Tag of the image; latest by default"),
	OPTION("format", 0, OPTION_CHOICE, format, "FORMAT", "auto|qcow2|raw|ova", NULL,
		"What the file must be; by default any of them will do"),
	OPTION("sha256", 0, OPTION_STRING, sha256, "HEX", NULL, NULL,
		"SHA-256 that the file must have, as its distributor publishes it"),
	OPTION("check", 0, OPTION_FLAG, check, NULL, NULL, NULL,
		"Starts the image once, and records which system it is and how it can mount host "
		"directories"),
	OPTION("verbose", 0, OPTION_FLAG, verbose, NULL, NULL, NULL, "Says what is done"),
	{.name = NULL},
};

static int import(
	const struct import_options *o, const char *source, struct image **ret, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	const struct import_request request = {
		.source = source,
		.name = o->name,
		.tag = o->tag,
		.format = o->format && !streq(o->format, "auto") ? o->format : NULL,
		.sha256 = o->sha256,
		.max_bytes = IMPORT_MAX_BYTES,
		.on_step = image_progress_step,
		.on_bytes = image_progress_bytes,
	};
	int r = locate_own_store(&store, err);

	if (r < 0)
		return r;
	image_progress_start(o->verbose);
	r = import_image(store, &request, ret, err);
	image_progress_stop();
	return r;
}

/* Starts the image, which prints why it fails if it does, and records what it says. */
static int check(struct image *image, struct error *err)
{
	autofree char *reference = path_format("%s:%s", image->name, image->tag);
	struct settings settings AUTO(settings_done) = {0};
	struct probe_result result AUTO(probe_done) = {0};
	struct store *store AUTO(store_freep) = NULL;
	static const char *const none[] = {NULL};
	int r = reference ? settings_load(&settings, err) : fail(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	if (probe_image(reference, &settings, &result) < 0)
		return fail(err, -EIO, "'%s' was imported, but it does not start", reference);
	r = locate_own_store(&store, err);
	if (r < 0)
		return r;
	return import_set_probe(store, image,
		result.filesystems.items ? strv_list(&result.filesystems) : none, result.os,
		result.agent_version, image->digest, err);
}

static int run_import(const void *options_struct, int arg_count, const char *const *args)
{
	const struct import_options *o = options_struct;
	struct image *image AUTO(image_freep) = NULL;
	struct error err = {0};
	int r = import(o, args[0], &image, &err);

	if (r >= 0 && o->check)
		r = check(image, &err);
	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	printf("%s:%s %.12s\n", image->name, image->tag, image->digest);
	return EXIT_SUCCESS;
}

const struct verb verb_image_import = {
	.name = "image import",
	.synopsis = "[options] FILE|URL",
	.summary = "Add a cloud image, as its distributor made it",
	.about =
		"Copies or downloads a disk image, checks it, and adds it to your images. The image "
		"is not changed. It must be a qcow2 or raw image of a whole disk for x86-64, or an "
		"OVA archive with one, whose disk is made qcow2; with a boot loader for BIOS and with "
		"cloud-init, as distributions publish for clouds; "
		"cloud-init brings WNoDeS's agent in from a small disk that each VM gets. If there is "
		"an image of that name and tag, it is replaced, and that is said; VMs that run from it "
		"are not disturbed.\n"
		"\n"
		"Images that need other files (overlays, external data files) are refused. Not every "
		"cloud image can mount host directories: with --check you know before the first job "
		"does.",
	.examples = "# A distribution's image, with the checksum from its web site\n"
		    "wnodes image import --name el9 --sha256 8a4f...\\\n"
		    "    https://mirror.example.org/AlmaLinux-9-GenericCloud-latest.x86_64.qcow2\n"
		    "# A file\n"
		    "wnodes image import --name debian-cloud debian-12-genericcloud-amd64.qcow2\n",
	.options = options,
	.options_size = sizeof(struct import_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "file",
	.run = run_import,
};
