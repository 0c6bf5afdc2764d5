/* wnodes template list: what there is to clone from. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "cli/table.h"
#include "cli/template.h"
#include "engine/local.h"
#include "lib/log.h"

#define SECOND INT64_C(1000000)

struct list_options {
	bool json, quiet;
};

static const struct verb_option list_options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct list_options, json),
		.help = "Prints JSON: all that a template was made of"},
	{"quiet", 'q', OPTION_FLAG, offsetof(struct list_options, quiet),
		.help = "Prints the names only, a line each"},
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"key", "TEMPLATE", TABLE_DIGEST},
	{"image", "IMAGE", TABLE_TEXT},
	{"cpus", "CPUS", TABLE_NUMBER},
	{"memory_bytes", "MEMORY", TABLE_SIZE},
	{"devices", "DEVICES", TABLE_TEXT},
	{"accel", "ACCEL", TABLE_TEXT},
	{"size", "SIZE", TABLE_SIZE},
	{"age_us", "AGE", TABLE_DURATION},
	{"uses", "USES", TABLE_NUMBER},
	{"unused_us", "LAST USED", TABLE_DURATION},
	{"last_start_us", "START", TABLE_DURATION},
	{"state", "STATE", TABLE_TEXT},
	{.key = NULL},
};

static void set_time(json_t *row, const char *key, const char *age_key, uint64_t when)
{
	uint64_t now = (uint64_t)time(NULL);

	if (when == 0)
		return;
	json_object_set_new(row, key, json_integer((json_int_t)when));
	json_object_set_new(
		row, age_key, json_integer(when < now ? (json_int_t)(now - when) * SECOND : 0));
}

static json_t *template_row(const struct template_info *info)
{
	json_t *row = json_pack("{s:s, s:I, s:s}", "key", info->key, "size",
		(json_int_t)info->bytes, "state", info->damaged[0] ? info->damaged : "ready");

	if (!row || info->damaged[0])
		return row;
	json_object_update_new(
		row, json_pack("{s:o, s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I}",
			     "image", json_sprintf("%s:%s", info->image_name, info->image_tag),
			     "image_digest", info->image_digest, "devices", info->devices, "cpus",
			     (json_int_t)info->cpus, "memory_bytes",
			     (json_int_t)info->memory_mib * 1024 * 1024, "shares",
			     (json_int_t)info->shares, "accel", info->accel, "cpu_model",
			     info->cpu_model, "qemu_version", info->qemu_version, "qemu_digest",
			     info->qemu_digest, "agent_version", info->agent_version, "boot_us",
			     (json_int_t)info->boot_us, "uses", (json_int_t)info->uses));
	if (info->last_start_us > 0)
		json_object_set_new(
			row, "last_start_us", json_integer((json_int_t)info->last_start_us));
	set_time(row, "created", "age_us", info->created);
	set_time(row, "last_used", "unused_us", info->last_used);
	return row;
}

static int add_row(const struct template_info *info, void *userdata)
{
	return table_add(userdata, template_row(info));
}

static int run_list(const void *options_struct, int arg_count, const char *const *args)
{
	const struct list_options *o = options_struct;
	struct table *table AUTO(table_freep) = table_new(columns);
	autofree char *directory = local_templates();
	struct error err = {.text = "out of memory"};
	int r = table && directory ? template_list(directory, add_row, table, &err) : -ENOMEM;

	if (r >= 0 && o->quiet)
		table_print_member(table, "key", stdout);
	else if (r >= 0)
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	if (r < 0)
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

const struct verb verb_template_list = {
	.name = "template list",
	.synopsis = "[options]",
	.summary = "List the templates that VMs are cloned from",
	.about = "Lists your templates: booted VMs that were saved, from which wnodes run starts "
		 "VMs of the same image, CPUs and memory in a tenth of a second. START is how long "
		 "the last one took until it answered.\n"
		 "\n"
		 "A template fits only what it was made with. When the image, the QEMU program or "
		 "wnodes itself changes, a new one is made, and the old one goes when the room is "
		 "needed ([template] budget in wnodes.conf).",
	.examples = "wnodes template list\n"
		    "wnodes template list --json\n",
	.options = list_options,
	.options_size = sizeof(struct list_options),
	.run = run_list,
};
