/* The SPANK plugin: options for srun, sbatch and salloc, and a task that becomes the job starter.
 *
 * It runs inside of Slurm's own programs: in srun, sbatch and salloc as the user, in slurmd and
 * slurmstepd as root, in a task as the user. So it does little, keeps no descriptor, and never ends
 * a process that is not the user's own. What goes wrong on a node is known by the task, which ends
 * with the status of our failures; a hook that fails would take the node out of service. */
#include <errno.h>
#include <slurm/spank.h>
#include <stdio.h>

#include "config.h"
#include "lib/exit.h"
#include "lib/parse.h"
#include "lrms/slurm/plugin/limit.h"
#include "lrms/slurm/plugin/relay.h"
#include "lrms/slurm/plugin/starter.h"
#include "lrms/slurm/plugin/submission.h"

SPANK_PLUGIN(wnodes, 1)

/* As where Slurm itself refuses an option. */
#define EXIT_REFUSED 255

static struct {
	struct demand demand;
	const char *starter;   /* the job starter's path */
	bool policy;           /* the job starter may choose a VM for tasks that asked for none */
	struct error unusable; /* why the plugin can start no VM, if code is set */
	struct error refusal;  /* on the node: what is wrong with this job's options */
	bool submitted;        /* a heterogeneous job's first component is complete */
	bool differs[OPTION_COUNT]; /* what a later one has of its own */
} plugin = {.starter = WNODES_LIBEXECDIR "/wnodes-bait"};

/* The first reason stays. */
static void keep_first(struct error *kept, const struct error *err)
{
	if (kept->code == 0)
		*kept = *err;
}

static int version_part(spank_t spank, spank_item_t item)
{
	char *text = NULL;

	return spank_get_item(spank, item, &text) == ESPANK_SUCCESS && text ? atoi(text) : -1;
}

/* Slurm checks it too, when it loads a plugin, but not in all versions. */
static int check_version(spank_t spank, struct error *err)
{
	int major = version_part(spank, S_SLURM_VERSION_MAJOR);
	int minor = version_part(spank, S_SLURM_VERSION_MINOR);

	if (major == SLURM_VERSION_MAJOR(SLURM_VERSION_NUMBER) &&
		minor == SLURM_VERSION_MINOR(SLURM_VERSION_NUMBER))
		return 0;
	return fail(err, -EPROTONOSUPPORT,
		"the plugin was built for Slurm %d.%02d, and this is Slurm %d.%02d; the "
		"administrator must build it anew",
		SLURM_VERSION_MAJOR(SLURM_VERSION_NUMBER),
		SLURM_VERSION_MINOR(SLURM_VERSION_NUMBER), major, minor);
}

/* One argument of the line in plugstack.conf. */
static int take_argument(const char *text, struct error *err)
{
	const char *value = str_after(text, "bait=");

	if (value && value[0] == '/') {
		plugin.starter = value;
		return 0;
	}
	if (value)
		return fail(err, -EINVAL, "'%s' is no absolute path", text);
	value = str_after(text, "policy=");
	if (value && parse_bool(value, &plugin.policy, NULL) == 0)
		return 0;
	return fail(err, -EINVAL, "'%s' is neither bait=PATH nor policy=yes|no", text);
}

static void take_arguments(int count, char **arguments)
{
	struct error err = {0};

	for (int i = 0; i < count; i++)
		if (take_argument(arguments[i], &err) < 0) {
			fail_within(&err, "plugstack.conf");
			keep_first(&plugin.unusable, &err);
		}
}

static int refuse(const struct option_row *row, const char *value, const struct error *err)
{
	slurm_error("wnodes: --%s=%.100s: %s", row->name, value, err->text);
	return -1;
}

/* On the node an option that is wrong must not be ignored, as Slurm does with what is refused here:
 * the job would run without its VM. */
static int on_option_remote(enum option_id id, const char *value)
{
	struct error err = {0};

	demand_clear(&plugin.demand, id);
	if (demand_add(&plugin.demand, id, value, false, &err) < 0 ||
		option_check(id, value, &err) < 0) {
		fail_within(&err, "--%s", option_rows[id].name);
		keep_first(&plugin.refusal, &err);
	}
	return 0;
}

/* Of a later component of a heterogeneous job, what was given is compared. Of an option that is no
 * list, the last value counts. */
static int on_option_local(enum option_id id, const char *value, struct error *err)
{
	bool handed_down = relay_is_handed_down(id, value);
	bool differs = !demand_has(&plugin.demand, id, value);

	if (!plugin.submitted)
		return demand_add(&plugin.demand, id, value, handed_down, err);
	if (!handed_down)
		plugin.differs[id] = differs || (option_rows[id].list && plugin.differs[id]);
	return 0;
}

static int on_option(int val, const char *value, int remote)
{
	const struct option_row *row = &option_rows[val];
	struct error err = {0};

	value = value ? value : "";
	if (remote)
		return on_option_remote((enum option_id)val, value);
	if (plugin.unusable.code != 0)
		return refuse(row, value, &plugin.unusable);
	if (option_check((enum option_id)val, value, &err) < 0 ||
		on_option_local((enum option_id)val, value, &err) < 0)
		return refuse(row, value, &err);
	return 0;
}

static void register_options(spank_t spank)
{
	for (int id = 0; id < OPTION_COUNT; id++) {
		const struct option_row *row = &option_rows[id];
		/* Slurm copies it. */
		struct spank_option option = {
			.name = (char *)(uintptr_t)row->name,
			.arginfo = (char *)(uintptr_t)row->argument,
			.usage = (char *)(uintptr_t)row->usage,
			.has_arg = 1,
			.val = id,
			.cb = on_option,
		};

		if (spank_option_register(spank, &option) != ESPANK_SUCCESS)
			slurm_error("wnodes: Slurm does not take the option --%s", row->name);
	}
}

int slurm_spank_init(spank_t spank, int argument_count, char **arguments)
{
	struct error err = {0};

	if (check_version(spank, &err) < 0)
		keep_first(&plugin.unusable, &err);
	take_arguments(argument_count, arguments);
	if (spank_context() != S_CTX_SLURMD)
		register_options(spank);
	else if (plugin.unusable.code != 0)
		slurm_error("wnodes: jobs that ask for a VM will fail: %s", plugin.unusable.text);
	return 0;
}

static bool is_vm_wanted(const struct demand *d)
{
	const char *image = demand_get(d, OPTION_IMAGE);

	return image && !streq(image, "none");
}

/* Slurm keeps one set of a plugin's options for all components of a heterogeneous job. */
static int check_components(struct error *err)
{
	for (int id = 0; id < OPTION_COUNT; id++)
		if (plugin.differs[id])
			return fail(err, -EINVAL,
				"--%s is not that of the first component: the components of a "
				"heterogeneous job share their VM options; where they differ, start "
				"one srun for each --het-group",
				option_rows[id].name);
	return 0;
}

/* What can only be told when all options are known. */
static int check_demand(const struct demand *d, struct error *err)
{
	const struct option_row *row = demand_find_given(d);

	if (plugin.submitted)
		return check_components(err);
	if (!row || demand_get(d, OPTION_IMAGE) || plugin.policy)
		return 0;
	return fail(err, -EINVAL, "--%s without --vm-image: there is no VM that it could be for",
		row->name);
}

/* Where jobs are submitted. Slurm goes on when an optional plugin's hook fails, so that what must
 * not be submitted ends here. */
static void submit(spank_t spank, bool is_step)
{
	struct error err = {0};

	if (check_demand(&plugin.demand, &err) < 0 ||
		(is_vm_wanted(&plugin.demand) &&
			submission_check_memory(&plugin.demand, &err) < 0) ||
		relay_store(spank, &plugin.demand, &err) < 0 ||
		(is_step && !plugin.submitted && relay_store_secret(&err) < 0)) {
		slurm_error("wnodes: %s", err.text);
		exit(EXIT_REFUSED);
	}
	plugin.submitted = true;
}

int slurm_spank_init_post_opt(spank_t spank, int argument_count, char **arguments)
{
	spank_context_t context = spank_context();

	if (context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR)
		submit(spank, context == S_CTX_LOCAL);
	return 0;
}

/* Becomes the job starter. Returns only on failure. */
static int start(spank_t spank, struct error *err)
{
	struct allocation allocation;
	char **argv = NULL, **env = NULL;
	int argc = 0;

	if (spank_get_item(spank, S_JOB_ARGV, &argc, &argv) != ESPANK_SUCCESS || !argv || !argv[0])
		return fail(err, -EIO, "Slurm does not say what the task is to run");
	if (starter_is_multi_prog(argv))
		return fail(err, -ENOTSUP,
			"srun --multi-prog cannot be used with a VM: start one script that looks "
			"at SLURM_PROCID");
	if (allocation_load(spank, &allocation, err) < 0)
		return err->code;
	limit_apply(spank);
	if (spank_get_item(spank, S_JOB_ENV, &env) != ESPANK_SUCCESS || !env)
		return fail(err, -EIO, "Slurm does not tell the task's environment");
	return starter_exec(plugin.starter, &plugin.demand, &allocation, argv, env, err);
}

static void fail_task(const struct error *err)
{
	slurm_error("wnodes: %s", err->text);
	_exit(EXIT_WNODES);
}

int slurm_spank_task_init(spank_t spank, int argument_count, char **arguments)
{
	struct error err = {0};
	char **env = NULL;
	bool wanted;

	if (spank_get_item(spank, S_JOB_ENV, &env) == ESPANK_SUCCESS && env &&
		relay_load(&plugin.demand, env, &err) < 0)
		keep_first(&plugin.refusal, &err);
	if (plugin.refusal.code != 0)
		fail_task(&plugin.refusal);
	wanted = is_vm_wanted(&plugin.demand);
	if (wanted && plugin.unusable.code != 0)
		fail_task(&plugin.unusable);
	if (plugin.unusable.code != 0 || (!wanted && !plugin.policy))
		return 0;
	start(spank, &err);
	fail_task(&err);
	return 0;
}

int slurm_spank_exit(spank_t spank, int argument_count, char **arguments)
{
	for (int id = 0; id < OPTION_COUNT; id++)
		demand_clear(&plugin.demand, (enum option_id)id);
	return 0;
}
