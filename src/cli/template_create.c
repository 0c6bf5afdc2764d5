/* wnodes template create and wnodes image warm: templates made ahead. */
#include <errno.h>
#include <stdio.h>

#include "cli/image_progress.h"
#include "cli/template.h"
#include "engine/settings.h"
#include "engine/warm.h"
#include "lib/log.h"
#include "lib/parse.h"

#define MIB UINT64_C(1048576)

/* The home directory and the current one. */
#define SHARES_USUAL 2

struct create_options {
	uint64_t cpus, memory;
	const char *accel, *digest, *network, *shares;
	bool scratch, background, quiet, verbose;
};

#define OPTION(name, letter, type, member, argument, choices, help, ...)                        \
	{                                                                                       \
		name, letter, type, offsetof(struct create_options, member), argument, choices, \
			NULL, help, __VA_ARGS__                                                 \
	}

static const struct verb_option create_options[] = {
	OPTION("cpus", 'c', OPTION_NUMBER, cpus, "N", NULL,
		"Virtual CPUs of the VMs that it is for", 1, 256),
	OPTION("memory", 'm', OPTION_SIZE, memory, "SIZE", NULL,
		"Memory of the VMs that it is for, for example 2G", MIB, 64 * MIB * MIB),
	OPTION("shares", 0, OPTION_STRING, shares, "N", NULL,
		"How many host directories they may mount; 2 by default, and 0 for --mount none"),
	OPTION("network", 0, OPTION_CHOICE, network, "KIND", "none|user",
		"The network that they have"),
	OPTION("scratch", 0, OPTION_FLAG, scratch, NULL, NULL,
		"They have a scratch disk, of whatever size"),
	OPTION("accel", 0, OPTION_CHOICE, accel, "KIND", "auto|kvm|tcg",
		"kvm, tcg (software emulation), or auto: kvm if guests run with it"),
	OPTION("digest", 0, OPTION_STRING, digest, "DIGEST", NULL,
		"Makes one only if the name stands for the image with this digest"),
	OPTION("background", 0, OPTION_FLAG, background, NULL, NULL,
		"Gives way to all other work, waits for no other process, and does not try again "
		"what failed less than an hour ago"),
	OPTION("quiet", 'q', OPTION_FLAG, quiet, NULL, NULL, "Prints nothing but errors"),
	OPTION("verbose", 0, OPTION_FLAG, verbose, NULL, NULL, "Says what is done"),
	{.name = NULL},
};

static int fill_request(struct warm_request *r, const struct create_options *o, struct error *err)
{
	uint64_t shares = SHARES_USUAL;
	const struct settings *s = r->settings;
	enum accel accel = accel_parse(o->accel ? o->accel : s->accel);

	if (accel == ACCEL_AUTO)
		accel = accel_choose(s->qemu, &r->trial);
	if (o->shares && parse_number(o->shares, 0, VM_SHARES_MAX, &shares, err) < 0)
		return fail_within(err, "--shares");
	r->shape = (struct shape){
		.accel = accel,
		.cpus = o->cpus ? o->cpus : s->cpus,
		.memory_mib = (o->memory ? o->memory : s->memory) / MIB,
		.network = streq(o->network ? o->network : s->network, "none") ? VM_NETWORK_NONE
									       : VM_NETWORK_USER,
		.scratch = o->scratch || s->scratch > 0,
		.slots = shape_slots(shares),
		.own_memory = streq(s->template_memory, "own"),
	};
	r->digest = o->digest;
	r->background = o->background;
	r->on_step = image_progress_step;
	return 0;
}

static void print_result(const struct template_info *info, bool was_there)
{
	char size[FORMAT_MAX], boot[FORMAT_MAX];

	if (was_there)
		printf("%.12s: was there already, %s\n", info->key, format_size(info->bytes, size));
	else
		printf("%.12s: %s, instead of a boot of %s\n", info->key,
			format_size(info->bytes, size), format_duration(info->boot_us, boot));
}

static int run_create(const void *options_struct, int arg_count, const char *const *args)
{
	const struct create_options *o = options_struct;
	struct settings settings AUTO(settings_done) = {0};
	struct warm_request request = {.image = args[0], .settings = &settings};
	struct template_info info;
	struct error err = {0};
	int r = settings_load(&settings, &err);

	if (o->background)
		warm_give_way();
	if (o->verbose)
		log_set("wnodes", LOG_LEVEL_DEBUG);
	if (r == 0)
		r = fill_request(&request, o, &err);
	if (r == 0) {
		image_progress_start(o->verbose);
		r = warm_make(&request, &info, &err);
		image_progress_stop();
	}
	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	if (!o->quiet && !o->background)
		print_result(&info, r == 1);
	return EXIT_SUCCESS;
}

#define ABOUT                                                                                \
	"Boots a VM of the image, lets its agent make it quiet, and saves it. wnodes run "   \
	"with the same CPUs, memory and devices then starts from it in a tenth of a second " \
	"instead of booting. wnodes run does this by itself in the background after it has " \
	"booted a VM; ahead of many jobs, do it once by hand.\n"                             \
	"\n"                                                                                 \
	"A template holds nothing of a user: no account, no directory, no address, no key. " \
	"It lies in ~/.cache/wnodes and takes about 80 MB there."

const struct verb verb_template_create = {
	.name = "template create",
	.synopsis = "[options] NAME[:TAG]",
	.summary = "Make a template of an image",
	.about = ABOUT,
	.examples = "wnodes template create --cpus 4 --memory 8G debian\n",
	.options = create_options,
	.options_size = sizeof(struct create_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "image",
	.run = run_create,
};

const struct verb verb_image_warm = {
	.name = "image warm",
	.synopsis = "[options] NAME[:TAG]",
	.summary = "Make an image's VMs start in a tenth of a second",
	.about = ABOUT " The same as wnodes template create.",
	.examples = "wnodes image warm debian\n"
		    "wnodes image warm --cpus 4 --memory 8G debian\n",
	.options = create_options,
	.options_size = sizeof(struct create_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "image",
	.run = run_create,
};
