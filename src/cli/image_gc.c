/* wnodes image gc: the room of what has no name. */
#include <stdio.h>

#include "cli/image.h"
#include "image/locate.h"
#include "lib/log.h"
#include "lib/parse.h"

struct gc_options {
	bool dry_run;
};

static const struct verb_option gc_options[] = {
	{"dry-run", 'n', OPTION_FLAG, offsetof(struct gc_options, dry_run), NULL, NULL, NULL,
		"Removes nothing, only says what would be"},
	{.name = NULL},
};

static int run_gc(const void *options_struct, int arg_count, const char *const *args)
{
	const struct gc_options *o = options_struct;
	struct store *store AUTO(store_freep) = NULL;
	char size[FORMAT_MAX];
	struct error err = {0};
	uint64_t files, bytes;

	if (locate_own_store(&store, &err) < 0 ||
		store_collect(store, o->dry_run, &files, &bytes, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	printf("%s %llu %s, %s\n", o->dry_run ? "would remove" : "removed",
		(unsigned long long)files, files == 1 ? "file" : "files", format_size(bytes, size));
	return EXIT_SUCCESS;
}

const struct verb verb_image_gc = {
	.name = "image gc",
	.synopsis = "[options]",
	.summary = "Give back the room of images without a name",
	.about =
		"Removes from your own store the files that no named image needs, and what builds "
		"and imports that were killed have left. It is safe at any time, also while images "
		"are built and VMs run.",
	.examples = "wnodes image gc --dry-run\n",
	.options = gc_options,
	.options_size = sizeof(struct gc_options),
	.max_args = 0,
	.run = run_gc,
};
