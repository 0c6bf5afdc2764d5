/* wnodes volume: disks that stay when their VM ends. */
#include <time.h>

#include "cli/site.h"
#include "cli/site_verb.h"
#include "lib/clock.h"

#define SIZE_MIN       (UINT64_C(16) << 20)
#define SIZE_MAX_BYTES (UINT64_C(1) << 46)

/* How long is waited for the node with the data, and how often it is looked. */
#define WAIT_US  (600 * UINT64_C(1000000))
#define PAUSE_NS (200 * 1000 * 1000)

static const struct verb_option list_rows[] = {
	SITE_FILTER(0, "owner", "NAME", "Only volumes of this user"),
	SITE_FILTER(1, "node", "NAME", "Only volumes whose data this node has"),
	SITE_FILTER(2, "state", "STATE",
		"Only volumes in this state: making, available, growing, failed or deleting"),
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"owner", "OWNER", TABLE_TEXT},
	{"size_bytes", "SIZE", TABLE_SIZE},
	{"state", "STATE", TABLE_TEXT},
	{"node", "NODE", TABLE_TEXT},
	{"writers", "WRITERS", TABLE_NUMBER},
	{"readers", "READERS", TABLE_NUMBER},
	{"created", "CREATED", TABLE_TIME},
	{.key = NULL},
};

static const struct table_column fields[] = {
	{"name", "Name", TABLE_TEXT},
	{"owner", "Owner", TABLE_TEXT},
	{"id", "Id", TABLE_TEXT},
	{"size_bytes", "Size", TABLE_SIZE},
	{"state", "State", TABLE_TEXT},
	{"reason", "Reason", TABLE_TEXT},
	{"node", "Node", TABLE_TEXT},
	{"source", "Copy of", TABLE_TEXT},
	{"generation", "Generation", TABLE_NUMBER},
	{"writers", "Writers", TABLE_NUMBER},
	{"readers", "Readers", TABLE_NUMBER},
	{"created", "Created", TABLE_TIME},
	{.key = NULL},
};

static const struct site_list volumes = {"volumes", list_rows, columns, "name", NULL};

static int run_list(const void *options, int arg_count, const char *const *args)
{
	return site_verb_list(&volumes, options);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int get_volume(const char *name, json_t **ret)
{
	struct site_path path AUTO(site_path_done) = {0};

	site_path_init(&path, "volumes", name, NULL);
	return site_verb_get(&path, ret);
}

static int run_show(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	json_t *volume = NULL;
	int status = get_volume(args[0], &volume);

	return status ? status : site_verb_print(volume, fields, o->json);
}

struct change_options {
	bool json, no_wait;
	uint64_t size;
	const char *node;
};

/* Looks until the node has done what was asked for; takes *volume, and gives it back as it is then.
 */
static int await(json_t **volume, bool no_wait)
{
	uint64_t began = clock_now_us();
	int status = EXIT_SUCCESS;

	while (status == EXIT_SUCCESS && !no_wait && clock_now_us() - began < WAIT_US &&
		(streq(text_of(*volume, "state"), "making") ||
			streq(text_of(*volume, "state"), "growing"))) {
		const struct timespec pause = {.tv_nsec = PAUSE_NS};
		json_t *before = *volume;

		nanosleep(&pause, NULL);
		status = get_volume(text_of(before, "id"), volume);
		if (status == EXIT_SUCCESS)
			json_decref(before);
		else
			*volume = before;
	}
	return status;
}

/* Says how it ended; takes `volume`. */
static int tell(const struct change_options *o, json_t *volume, const char *what)
{
	const char *reason = text_of(volume, "reason");
	autofree char *name = strdup(text_of(volume, "name"));
	int status = await(&volume, o->no_wait);

	reason = text_of(volume, "reason");
	if (status == EXIT_SUCCESS && *reason) {
		status = site_verb_fail(
			"volume '%s' is %s: %s", name, text_of(volume, "state"), reason);
		json_decref(volume);
		return status;
	}
	if (status) {
		json_decref(volume);
		return status;
	}
	if (o->json)
		return site_verb_tell(true, volume, "%s", "");
	status = site_verb_tell(false, NULL, "volume '%s' %s, on node %s: %s", name, what,
		text_of(volume, "node"), text_of(volume, "state"));
	json_decref(volume);
	return status;
}

#define NO_WAIT_ROW                                                                \
	{"no-wait", 0, OPTION_FLAG, offsetof(struct change_options, no_wait),      \
		.help = "Does not wait until the node with the data has done it"}, \
		SITE_JSON_OPTION(struct change_options)

static const struct verb_option create_rows[] = {
	{"size", 0, OPTION_SIZE, offsetof(struct change_options, size), "SIZE",
		.help = "How large it is to be, for example 10G", .min = SIZE_MIN,
		.max = SIZE_MAX_BYTES},
	{"node", 0, OPTION_STRING, offsetof(struct change_options, node), "NODE", NULL, "node",
		"Node that is to have the data; the one with the most room by default"},
	NO_WAIT_ROW,
	{.name = NULL},
};

static int put(const struct change_options *o, const char *name, json_t *body, const char *what)
{
	struct site_path path AUTO(site_path_done) = {0};
	json_t *volume = NULL;
	int status;

	site_path_init(&path, "volumes", name, NULL);
	status = site_verb_change("PUT", &path, body, NULL, &volume);
	return status ? status : tell(o, volume, what);
}

static int run_create(const void *options, int arg_count, const char *const *args)
{
	const struct change_options *o = options;

	if (o->size == 0)
		return site_verb_fail("a volume needs --size, for example 10G");
	return put(o, args[0],
		json_pack("{s:I, s:s*}", "size_bytes", (json_int_t)o->size, "node", o->node),
		"is made");
}

static const struct verb_option snapshot_rows[] = {
	NO_WAIT_ROW,
	{.name = NULL},
};

static int run_snapshot(const void *options, int arg_count, const char *const *args)
{
	return put(options, args[1], json_pack("{s:s}", "source", args[0]), "is a copy");
}

static const struct verb_option resize_rows[] = {
	{"size", 0, OPTION_SIZE, offsetof(struct change_options, size), "SIZE",
		.help = "How large it is to be then", .min = SIZE_MIN, .max = SIZE_MAX_BYTES},
	NO_WAIT_ROW,
	{.name = NULL},
};

static int run_resize(const void *options, int arg_count, const char *const *args)
{
	const struct change_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *volume = NULL;
	int status;

	if (o->size == 0)
		return site_verb_fail("write how large it is to be: --size 20G");
	site_path_init(&path, "volumes", args[0], NULL);
	status = site_verb_change("PATCH", &path,
		json_pack("{s:I}", "size_bytes", (json_int_t)o->size), NULL, &volume);
	return status ? status : tell(o, volume, "has grown");
}

struct delete_options {
	bool json, force;
};

static const struct verb_option delete_rows[] = {
	{"force", 0, OPTION_FLAG, offsetof(struct delete_options, force),
		.help = "Has it forgotten though its node does not come back; for administrators"},
	SITE_JSON_OPTION(struct delete_options),
	{.name = NULL},
};

static int run_delete(const void *options, int arg_count, const char *const *args)
{
	const struct delete_options *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	json_t *volume = NULL, *answer = NULL;
	int status = get_volume(args[0], &volume);

	if (status)
		return status;
	site_path_init(&path, "volumes", text_of(volume, "id"), NULL);
	if (o->force)
		site_path_add(&path, "force", "true");
	status = site_verb_change("DELETE", &path, NULL, NULL, &answer);
	if (status == EXIT_SUCCESS)
		status = site_verb_tell(o->json, answer,
			o->force ? "volume '%s' is forgotten; its data may still be on node %s"
				 : "volume '%s' is removed, and its data on node %s",
			text_of(volume, "name"), text_of(volume, "node"));
	json_decref(volume);
	return status;
}

struct detaching {
	json_t *attachments;
};

static int keep(json_t *row, void *userdata)
{
	struct detaching *d = userdata;

	return json_array_append_new(d->attachments, row);
}

static int detach_all(json_t *attachments)
{
	int status = EXIT_SUCCESS;
	json_t *row;
	size_t i;

	json_array_foreach(attachments, i, row)
	{
		struct site_path path AUTO(site_path_done) = {0};

		site_path_init(&path, "attachments", text_of(row, "id"), NULL);
		if (status == EXIT_SUCCESS)
			status = site_verb_change("DELETE", &path, NULL, NULL, NULL);
	}
	return status;
}

static int run_detach(const void *options, int arg_count, const char *const *args)
{
	const struct site_json_option *o = options;
	struct site_path path AUTO(site_path_done) = {0};
	struct detaching d = {.attachments = json_array()};
	struct error err = {0};
	json_t *volume = NULL;
	int status = get_volume(args[0], &volume);

	if (status == EXIT_SUCCESS) {
		site_path_init(&path, "attachments", NULL);
		site_path_add(&path, "volume", text_of(volume, "id"));
		if (site_call_list(&path, keep, &d, &err) < 0)
			status = site_verb_fail("%s", err.text);
	}
	if (status == EXIT_SUCCESS)
		status = detach_all(d.attachments);
	if (status == EXIT_SUCCESS && !o->json)
		status = site_verb_tell(false, NULL, "volume '%s' is taken away from %zu VMs",
			text_of(volume, "name"), json_array_size(d.attachments));
	else if (status == EXIT_SUCCESS)
		status = site_verb_tell(true, json_incref(d.attachments), "%s", "");
	json_decref(volume);
	json_decref(d.attachments);
	return status;
}

const struct verb verb_volume_list = {
	.name = "volume list",
	.synopsis = "[options]",
	.summary = "List volumes",
	.about = "Lists volumes of the site: disks that stay when their VM ends. Users see their "
		 "own.",
	.examples = "wnodes volume list\n"
		    "wnodes volume list --node wn017 --json\n",
	.options = list_rows,
	.options_size = sizeof(struct site_list_options),
	.run = run_list,
};

const struct verb verb_volume_show = {
	.name = "volume show",
	.synopsis = "[options] VOLUME",
	.summary = "Show a volume",
	.about = "Shows a volume: NAME of your own, or OWNER/NAME.",
	.examples = "wnodes volume show data\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "volume",
	.run = run_show,
};

const struct verb verb_volume_create = {
	.name = "volume create",
	.synopsis = "[options] NAME",
	.summary = "Make a volume, a disk that stays",
	.about =
		"Makes a volume of yours, with an empty file system. VMs get it by wnodes run "
		"--volume NAME, on whatever node they run: one at a time to write to it, or several "
		"to read. What may be had of volumes is limited by the site. The same volume may be "
		"made again, which changes nothing.",
	.examples = "wnodes volume create data --size 10G\n"
		    "wnodes run --volume data:/data -- ./simulate --output /data/run1\n",
	.options = create_rows,
	.options_size = sizeof(struct change_options),
	.min_args = 1,
	.max_args = 1,
	.run = run_create,
};

const struct verb verb_volume_snapshot = {
	.name = "volume snapshot",
	.synopsis = "[options] VOLUME NAME",
	.summary = "Keep what a volume is now as another one",
	.about =
		"Makes a volume of yours that is a copy of another one, on the same node: by "
		"reference where the node's file system can (XFS, Btrfs), which takes no room until "
		"one of them changes. The source must not be attached for writing.",
	.examples = "wnodes volume snapshot data data-monday\n",
	.options = snapshot_rows,
	.options_size = sizeof(struct change_options),
	.min_args = 2,
	.max_args = 2,
	.args_complete = "volume",
	.run = run_snapshot,
};

const struct verb verb_volume_resize = {
	.name = "volume resize",
	.synopsis = "[options] VOLUME",
	.summary = "Make a volume larger",
	.about = "Has a volume grow, and the file system in it if that is ext4, as it was made. It "
		 "must not be attached. A volume does not shrink.",
	.examples = "wnodes volume resize data --size 20G\n",
	.options = resize_rows,
	.options_size = sizeof(struct change_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "volume",
	.run = run_resize,
};

const struct verb verb_volume_delete = {
	.name = "volume delete",
	.synopsis = "[options] VOLUME",
	.summary = "Remove a volume and its data",
	.about = "Removes a volume that is not attached, and all that is in it.",
	.examples = "wnodes volume delete data-monday\n",
	.options = delete_rows,
	.options_size = sizeof(struct delete_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "volume",
	.run = run_delete,
};

const struct verb verb_volume_detach = {
	.name = "volume detach",
	.synopsis = "[options] VOLUME",
	.summary = "Take a volume away from its VMs",
	.about =
		"A volume is free when its VM ends, and some time after the VM's node was lost. "
		"This frees it at once: the node with the data refuses whatever the VM still writes, "
		"which sees errors, as if the disk had been pulled out. Where the VM is on the node "
		"with the data itself, the next one waits until it has ended. Nothing that was "
		"written and flushed is lost.",
	.examples = "wnodes volume detach data\n",
	.options = site_json_rows,
	.options_size = sizeof(struct site_json_option),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "volume",
	.run = run_detach,
};
