/* wnodes vm list and wnodes vm show: the caller's running VMs, and those of the site. */
#include <errno.h>

#include "cli/site_verb.h"
#include "cli/vm.h"
#include "engine/attach.h"
#include "engine/rundir.h"
#include "lib/deadline.h"
#include "lib/log.h"
#include "lib/path.h"

/* For all of them together: who is well answers within a millisecond. */
#define LIST_ANSWER_MS 2000

static const struct verb_option list_options[] = {
	{"all", 'a', OPTION_FLAG, offsetof(struct site_list_options, all),
		.help = "Lists the VMs of all nodes of the site; your own, for administrators those of "
			"all users"},
	SITE_FILTER(0, "user", "NAME", "With --all: only this user's VMs"),
	SITE_FILTER(1, "node", "NAME", "With --all: only VMs on this node"),
	SITE_FILTER(2, "job", "SYSTEM.ID", "With --all: only VMs of this job, as slurm.4711"),
	SITE_FILTER(3, "image", "NAME[:TAG]", "With --all: only VMs of this image"),
	SITE_FILTER(4, "state", "STATE", "With --all: only VMs in this state"),
	SITE_LIST_OPTIONS,
	{.name = NULL},
};

static const struct table_column site_columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"node", "NODE", TABLE_TEXT},
	{"state", "STATE", TABLE_TEXT},
	{"user", "USER", TABLE_TEXT},
	{"job", "JOB", TABLE_TEXT},
	{"image", "IMAGE", TABLE_TEXT},
	{"cpus", "CPUS", TABLE_NUMBER},
	{"memory_bytes", "MEMORY", TABLE_SIZE},
	{"started", "STARTED", TABLE_TIME},
	{.key = NULL},
};

static const struct site_list site_vms = {"vms", list_options, site_columns, "name", NULL};

static const struct table_column columns[] = {
	{"name", "NAME", TABLE_TEXT},
	{"image_name", "IMAGE", TABLE_TEXT},
	{"phase", "PHASE", TABLE_TEXT},
	{"age_us", "AGE", TABLE_DURATION},
	{"cpus", "CPUS", TABLE_NUMBER},
	{"memory_bytes", "MEMORY", TABLE_SIZE},
	{"used_memory_bytes", "USED", TABLE_SIZE},
	{"accel", "ACCEL", TABLE_TEXT},
	{"command_line", "COMMAND", TABLE_TEXT},
	{.key = NULL},
};

/* A command as one string, as people write it. */
static json_t *join_command(json_t *vm)
{
	json_t *argv = json_object_get(json_object_get(vm, "command"), "argv");
	json_t *text = json_string(""), *word;
	size_t i;

	json_array_foreach(argv, i, word)
	{
		json_t *longer = json_sprintf(
			"%s%s%s", json_string_value(text), i ? " " : "", json_string_value(word));
		json_decref(text);
		text = longer;
	}
	return text;
}

/* Adds what only a list needs: flat members for its columns. */
static void flatten(json_t *vm)
{
	json_t *image = json_object_get(vm, "image");
	const char *name = json_string_value(json_object_get(image, "name"));
	const char *tag = json_string_value(json_object_get(image, "tag"));

	json_object_set_new(
		vm, "image_name", name ? json_sprintf("%s:%s", name, tag ? tag : "") : json_null());
	json_object_set_new(vm, "age_us",
		json_integer(
			(json_int_t)(json_number_value(json_object_get(vm, "total_s")) * 1e6)));
	json_object_set_new(vm, "command_line", join_command(vm));
	json_object_set(vm, "started_by", json_object_get(json_object_get(vm, "start"), "how"));
}

/* A VM that was asked what it is. */
struct asked {
	char *name;
	int fd; /* -1: it could not be asked */
};

struct asking {
	struct asked *vms;
	size_t count;
};

static void asking_done(struct asking *a)
{
	for (size_t i = 0; i < a->count; i++) {
		free(a->vms[i].name);
		base_close(a->vms[i].fd);
	}
	free(a->vms);
}

/* All are asked before the first answer is waited for. */
static int ask(const char *name, const char *path, void *userdata)
{
	struct asking *a = userdata;
	struct asked *grown = reallocarray(a->vms, a->count + 1, sizeof(*grown));
	autofree char *socket = path_format("%s/" RUNDIR_SOCKET, path);
	struct error err = {0};
	int fd;

	if (grown)
		a->vms = grown;
	if (!grown || !socket)
		return -ENOMEM;
	fd = attach_open(socket, &err);
	/* One that ends just now, or is not listening yet, is no reason not to show the others. */
	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return 0;
	if (fd >= 0)
		attach_ask(fd, "show", &err);
	grown[a->count++] = (struct asked){.name = strdup(name), .fd = fd < 0 ? -1 : fd};
	return 0;
}

/* A VM whose wnodes is stopped, or on a host that is, has at least a name. */
static int add_silent(struct table *table, const struct asked *vm)
{
	log_warning("%s does not answer", vm->name);
	return table_add(table, json_pack("{s:s, s:s}", "name", vm->name, "phase", "?"));
}

static int add_row(struct table *table, const struct asked *vm, uint64_t deadline)
{
	json_t *answer = NULL, *shown;
	struct error err = {0};
	int r = vm->fd < 0 ? -ETIMEDOUT : attach_answer(vm->fd, deadline, &answer, NULL, &err);

	if (r == -ETIMEDOUT)
		return add_silent(table, vm);
	if (r < 0) {
		log_debug("%s: %s", vm->name, err.text);
		return 0;
	}
	shown = json_incref(json_object_get(answer, "vm"));
	json_decref(answer);
	if (!shown)
		return 0;
	flatten(shown);
	return table_add(table, shown);
}

static int fill_table(struct table *table, struct error *err)
{
	struct asking asking AUTO(asking_done) = {0};
	int r = rundir_list(ask, &asking, err);
	uint64_t deadline = deadline_in_ms(LIST_ANSWER_MS);

	for (size_t i = 0; i < asking.count && r == 0; i++)
		r = add_row(table, &asking.vms[i], deadline);
	return r;
}

static int list_own(const struct site_list_options *o)
{
	struct table *table AUTO(table_freep) = table_new(columns);
	struct error err = {0};
	int r = table ? fill_table(table, &err) : -ENOMEM;

	if (r < 0) {
		log_error("cannot list the VMs: %s", err.text[0] ? err.text : strerror(-r));
		return EXIT_WNODES;
	}
	if (o->quiet)
		table_print_member(table, "name", stdout);
	else
		r = o->json ? table_print_json(table, stdout) : table_print(table, stdout);
	return r < 0 ? EXIT_WNODES : 0;
}

static int run_list(const void *options, int arg_count, const char *const *args)
{
	const struct site_list_options *o = options;
	const char *filter;

	if (o->all)
		return site_verb_list(&site_vms, o);
	if (site_verb_is_filtered(list_options, o, &filter)) {
		log_error("--%s is for the VMs of the site: give --all too", filter);
		return EXIT_WNODES;
	}
	return list_own(o);
}

const struct verb verb_vm_list = {
	.name = "vm list",
	.synopsis = "[options]",
	.summary = "List your running VMs, or those of the site",
	.about =
		"Lists the VMs that you have started on this machine and that still run, with the "
		"phase that each is in, or ? where a VM does not answer. USED is the memory that "
		"each really takes on this host: what clones have in common is counted in parts.\n"
		"\n"
		"With --all, lists what the site's controllers know: the VMs that the nodes have told "
		"of, not later than half a minute ago. The state unknown is that of VMs whose node is "
		"lost.",
	.examples = "wnodes vm list\n"
		    "wnodes vm list --json\n"
		    "wnodes vm list --all --node wn017\n"
		    "wnodes vm list --all --user alice --image el9:latest --quiet\n",
	.options = list_options,
	.options_size = sizeof(struct site_list_options),
	.run = run_list,
};

struct show_options {
	bool json;
};

static const struct verb_option show_options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct show_options, json), .help = "Prints JSON"},
	{.name = NULL},
};

static const struct table_column fields[] = {
	{"name", "Name", TABLE_TEXT},
	{"image_name", "Image", TABLE_TEXT},
	{"image_digest", "Digest", TABLE_TEXT},
	{"phase", "Phase", TABLE_TEXT},
	{"age_us", "Age", TABLE_DURATION},
	{"cpus", "CPUs", TABLE_NUMBER},
	{"memory_bytes", "Memory", TABLE_SIZE},
	{"used_memory_bytes", "Memory used", TABLE_SIZE},
	{"scratch_bytes", "Scratch", TABLE_SIZE},
	{"network", "Network", TABLE_TEXT},
	{"accel", "Accelerator", TABLE_TEXT},
	{"started_by", "Started by", TABLE_TEXT},
	{"mount_list", "Mounts", TABLE_TEXT},
	{"command_line", "Command", TABLE_TEXT},
	{"qemu_pid", "QEMU process", TABLE_NUMBER},
	{.key = NULL},
};

static json_t *join_mounts(json_t *vm)
{
	json_t *list = json_array(), *mount;
	size_t i;

	json_array_foreach(json_object_get(vm, "mounts"), i, mount)
	{
		const char *gateway = json_string_value(json_object_get(mount, "gateway"));

		json_array_append_new(list,
			json_sprintf("%s on %s (%s%s)",
				json_string_value(json_object_get(mount, "host")),
				json_string_value(json_object_get(mount, "guest")),
				gateway ? gateway : "-",
				json_is_true(json_object_get(mount, "read_only")) ? ", ro" : ""));
	}
	return list;
}

static int run_show(const void *options, int arg_count, const char *const *args)
{
	const struct show_options *o = options;
	struct table *table AUTO(table_freep) = table_new(fields);
	struct error err = {0};
	json_t *vm = NULL;
	int r = table ? vm_ask(args[0], &vm, &err) : -ENOMEM;

	if (r < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	if (!o->json) {
		flatten(vm);
		json_object_set_new(vm, "mount_list", join_mounts(vm));
		json_object_set(vm, "image_digest",
			json_object_get(json_object_get(vm, "image"), "digest"));
	}
	r = table_add(table, vm);
	if (r == 0)
		r = o->json ? table_print_json_record(table, stdout)
			    : table_print_record(table, stdout);
	return r < 0 ? EXIT_WNODES : 0;
}

const struct verb verb_vm_show = {
	.name = "vm show",
	.synopsis = "VM",
	.summary = "Show one of your running VMs",
	.about =
		"Shows a running VM: image, shape, mounts, command, and how far it is. VM is its name "
		"as wnodes vm list gives it, or a unique beginning. With --json it also tells how "
		"long each phase took.",
	.examples = "wnodes vm show vm-1f\n"
		    "wnodes vm show --json vm-1f2e3d4c\n",
	.options = show_options,
	.options_size = sizeof(struct show_options),
	.min_args = 1,
	.max_args = 1,
	.args_complete = "vm",
	.run = run_show,
};
