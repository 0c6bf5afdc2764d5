/* wnodes image build: the options become a build_request. */
#include "image/build.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "cli/image.h"
#include "cli/image_progress.h"
#include "image/locate.h"
#include "lib/log.h"
#include "lib/strv.h"

struct build_options {
	const char *suite, *script, *name, *tag, *init;
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
	OPTION("suite", 's', OPTION_STRING, suite, "SUITE", NULL, NULL,
		"Debian's release, for example bookworm (the default) or trixie"),
	OPTION("packages", 'p', OPTION_LIST, packages, "LIST", NULL, NULL,
		"More packages, separated by commas. May be repeated"),
	OPTION("script", 0, OPTION_STRING, script, "FILE", NULL, "file",
		"Program or shell script that is run in the image, as root, when all packages are "
		"installed"),
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

static volatile sig_atomic_t cancelled;

static void on_signal(int signo)
{
	cancelled = signo;
}

/* Programs that are at work are stopped in order, and what they left is removed. */
static void catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
}

static void add_packages(const struct verb_list *lists, struct strv *ret)
{
	for (size_t i = 0; i < lists->count; i++) {
		const char *p = lists->items[i];

		for (p += strspn(p, ", \t\n"); *p; p += strspn(p, ", \t\n")) {
			size_t n = strcspn(p, ", \t\n");

			strv_add_format(ret, "%.*s", (int)n, p);
			p += n;
		}
	}
}

static int build(const struct build_options *o, char ret_digest[DIGEST_HEX_SIZE],
	const struct build_request *request, struct error *err)
{
	struct store *store AUTO(store_freep) = NULL;
	int r = locate_own_store(&store, err);

	if (r < 0)
		return r;
	catch_signals();
	image_progress_start(o->verbose);
	r = build_debian(store, request, ret_digest, err);
	image_progress_stop();
	return r;
}

static int run_build(const void *options_struct, int arg_count, const char *const *args)
{
	const struct build_options *o = options_struct;
	struct strv packages AUTO(strv_done) = {0};
	struct build_request request = {
		.name = o->name ? o->name : "debian",
		.tag = o->tag ? o->tag : STORE_TAG_DEFAULT,
		.suite = o->suite ? o->suite : BUILD_SUITE_DEFAULT,
		.mirrors = o->mirrors.items,
		.script = o->script,
		.disk_size = o->size ? o->size : BUILD_SIZE_DEFAULT,
		.systemd = o->init && streq(o->init, "systemd"),
		.on_step = image_progress_step,
		.cancel = &cancelled,
	};
	char digest[DIGEST_HEX_SIZE];
	struct error err = {0};
	int r;

	if (!streq(args[0], "debian")) {
		log_error("cannot build '%s': only debian can be built; others can be imported, see"
			  " wnodes image import --help",
			args[0]);
		return EXIT_WNODES;
	}
	add_packages(&o->packages, &packages);
	request.packages = strv_list(&packages);
	r = packages.failed ? fail(&err, -ENOMEM, "out of memory")
			    : build(o, digest, &request, &err);
	if (r < 0) {
		log_error("%s", err.text);
		return r == -ECANCELED && cancelled ? 128 + cancelled : EXIT_WNODES;
	}
	printf("%s:%s %.12s\n", request.name, request.tag, digest);
	return EXIT_SUCCESS;
}

const struct verb verb_image_build = {
	.name = "image build",
	.synopsis = "[options] debian",
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
		    "wnodes image build debian --suite trixie --name analysis --script setup.sh\n",
	.options = options,
	.options_size = sizeof(struct build_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "=debian",
	.run = run_build,
};
