/* wnodes image fetch: becomes the program that has HTTP inside. */
#include <errno.h>

#include "cli/image.h"
#include "lib/log.h"
#include "lib/path.h"

#define PROGRAM "wnodes-fetch"

struct fetch_options {
	struct verb_list from;
	const char *release, *name, *tag;
	uint64_t timeout_us;
	bool json, verbose;
};

#define OPTION(name, letter, type, member, argument, complete, help)                        \
	{                                                                                   \
		name, letter, type, offsetof(struct fetch_options, member), argument, NULL, \
			complete, help                                                      \
	}

static const struct verb_option options[] = {
	OPTION("from", 'f', OPTION_LIST, from, "URL|DIRECTORY", "dir",
		"A depot: a directory, or its URL on any web server. May be repeated: directories are "
		"looked at first, then servers in this order, and the next one when one fails"),
	OPTION("release", 'r', OPTION_STRING, release, "FILE", "file",
		"The image's release, as image publish --json prints it; with it, what comes is "
		"verified as it comes, and nothing has to be read again in the end"),
	OPTION("name", 'n', OPTION_STRING, name, "NAME", NULL,
		"Name that the image gets here; by default the release's"),
	OPTION("tag", 't', OPTION_STRING, tag, "TAG", NULL,
		"Tag that it gets here; latest by default"),
	{"timeout", 0, OPTION_DURATION, offsetof(struct fetch_options, timeout_us), "DURATION",
		NULL, NULL, "For how long depots may not answer before it fails; 1m by default",
		.min = 1000, .max = UINT64_C(86400000000)},
	OPTION("json", 0, OPTION_FLAG, json, NULL, NULL,
		"Prints JSON: how many bytes came from where"),
	OPTION("verbose", 0, OPTION_FLAG, verbose, NULL, NULL, "Says what is done"),
	{.name = NULL},
};

static void add_option(struct strv *argv, const char *option, const char *value)
{
	if (value)
		strv_add_all(argv, option, value, NULL);
}

static int run_fetch(const void *options_struct, int arg_count, const char *const *args)
{
	const struct fetch_options *o = options_struct;
	struct strv argv AUTO(strv_done) = {0};
	autofree char *program = path_own_program(PROGRAM);

	if (o->from.count == 0) {
		log_error("say where from: --from URL or --from DIRECTORY");
		return EXIT_WNODES;
	}
	strv_add(&argv, PROGRAM);
	for (size_t i = 0; i < o->from.count; i++)
		add_option(&argv, "--from", o->from.items[i]);
	add_option(&argv, "--release", o->release);
	add_option(&argv, "--name", o->name);
	add_option(&argv, "--tag", o->tag);
	if (o->timeout_us > 0)
		strv_add_format(
			&argv, "--timeout-ms=%llu", (unsigned long long)(o->timeout_us / 1000));
	if (o->json)
		strv_add(&argv, "--json");
	if (o->verbose)
		strv_add(&argv, "--verbose");
	strv_add(&argv, "--");
	if (arg_count > 0)
		strv_add(&argv, args[0]);
	if (argv.failed || !program) {
		log_error("out of memory");
		return EXIT_WNODES;
	}
	execv(program, argv.items);
	log_error("cannot execute '%s': %s", program, strerror(errno));
	return EXIT_WNODES;
}

const struct verb verb_image_fetch = {
	.name = "image fetch",
	.synopsis = "[options] --from URL|DIRECTORY [DIGEST]",
	.summary = "Take an image from a depot, which others publish to",
	.about =
		"Fetches an image that somebody has published (see image publish), and adds it to your "
		"images. The image is its digest, of 64 hexadecimal digits, or that of the release; "
		"whatever the depot sends, nothing else can come out of it.\n"
		"\n"
		"Only what is new travels: chunks that other images of yours have are copied (shared, "
		"where the file system can), and zeros take neither network nor disk. When a fetch "
		"fails or is killed, what has come stays for a day; run the same command again, and it "
		"goes on. If another process fetches the same image, it is waited for.\n"
		"\n"
		"A server that fails is asked again, or the next one is. The image is there when all "
		"of it has come, has been verified and is on the disk, and not before.",
	.examples = "# From a directory that all machines mount\n"
		    "wnodes image fetch --from /net/depot --name el9 8a4f...\n"
		    "# From a web server, and another one if that fails\n"
		    "wnodes image fetch --release el9.json --from https://example.org/depot \\\n"
		    "    --from http://mirror.example.org/depot\n",
	.options = options,
	.options_size = sizeof(struct fetch_options),
	.min_args = 0,
	.max_args = 1,
	.run = run_fetch,
};
