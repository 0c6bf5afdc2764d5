#include "engine/policy.h"

#include <errno.h>

#include "engine/site_file.h"
#include "lib/parse.h"

#define MIB UINT64_C(1048576)
#define TIB (MIB * 1048576)

/* Those that can be locked. */
#define KEYS "image|cpus|memory|scratch|mount|network|start|env"

/* No user's directory is the site's business: what a rule mounts is a place on all nodes. */
static int check_mount(const char *text, struct error *err)
{
	if (text[0] == '/' || text[0] == '\0' || streq(text, "none"))
		return 0;
	return fail(err, -EINVAL,
		"'%s' is no absolute path; write HOST[:GUEST][:ro], or none for no directories of "
		"the user's",
		text);
}

static int check_env(const char *text, struct error *err)
{
	if (text[0] != '=')
		return 0;
	return fail(err, -EINVAL, "'%s' has no name; write NAME or NAME=VALUE", text);
}

static int check_mpi(const char *text, struct error *err)
{
	return text[strspn(text, " ")] ? 0 : fail(err, -EINVAL, "no program given");
}

static int check_image(const char *text, struct error *err)
{
	return *text ? 0 : fail(err, -EINVAL, "has no value");
}

#define ROW(key, type, member, ...)                                                      \
	{                                                                                \
		"policy", key, CONF_##type, offsetof(struct policy, member), __VA_ARGS__ \
	}

static const struct conf_setting policy_table[] = {
	ROW("partition", WORDS, lists[POLICY_PARTITION],
		.help = "Partitions (queues) that the rule is for; patterns such as long-* may be "
			"given. May be given several times."),
	ROW("account", WORDS, lists[POLICY_ACCOUNT],
		.help = "Accounts (of the batch system) that the rule is for, as partition."),
	ROW("group", WORDS, lists[POLICY_GROUP],
		.help = "Groups that the rule is for, as partition; one of the user's groups must "
			"match."),
	ROW("user", WORDS, lists[POLICY_USER], .help = "Users that the rule is for, as partition."),
	ROW("job-name", PATTERN, job_name,
		.help = "Extended regular expression that is found in the names of the jobs that the "
			"rule is for; ^ and $ hold it to the ends."),
	ROW("vm", CHOICE, vm_word, .default_value = "allow", .choices = "allow|force|forbid",
		.help = "Whether a job may have a VM: allow (if it asks for one), force (it always "
			"gets one), forbid (it is refused if it asks for one)."),
	ROW("message", STRING, message, .help = "What a job is told that is refused."),
	ROW("image", STRING, values.image, .help = "Image of the VM.", .check = check_image),
	ROW("cpus", NUMBER, values.cpus, .min = 1, .max = 256,
		.help = "Virtual CPUs of the VM; those of the job when not set."),
	ROW("memory", SIZE, values.memory, .min = 16 * MIB, .max = 64 * TIB,
		.help = "Memory of the VM; that of the job, less what the VM needs beside it, when "
			"not set."),
	ROW("scratch", SIZE, values.scratch,
		.help = "Size of the scratch disk on /scratch and /tmp; 0 means none."),
	ROW("mount", STRINGS, values.mount,
		.help = "Host directory for the VM, as --mount, with an absolute path; those of the "
			"job are added.",
		.check = check_mount),
	ROW("network", STRING, values.network, .help = "Network of the VM, as [run] network.",
		.check = network_check_name),
	ROW("start", CHOICE, values.start, .choices = SETTINGS_STARTS,
		.help = "How the VM starts; see [run] start."),
	ROW("env", STRINGS, values.env,
		.help = "Environment variable for the command, as --env; those of the job are added "
			"and win.",
		.check = check_env),
	ROW("mpi", STRING, values.mpi,
		.help = "Program, as mpirun, that starts the command as a rank of each task, as "
			"--vm-mpi; none: tasks run by themselves. It cannot be locked, as a job's own "
			"steps say where their ranks begin.",
		.check = check_mpi),
	ROW("locked", WORDS, locked_words, .choices = KEYS,
		.help = "Keys of this rule whose values hold whatever the job asks for."),
	{.key = NULL},
};

#define SECTION                                                                                \
	.kind = "policy", .table = policy_table, .size = sizeof(struct policy),                \
	.help = "Rules for the jobs of the batch system, in the order of the file: the first " \
		"whose conditions all hold decides what VM a job gets, or that it gets none. " \
		"A rule without conditions holds for all. Only the system's file may have "    \
		"rules. What the job asks for itself wins over the rule, unless the rule "     \
		"locks it. See wnodes policy test."

const struct conf_list policy_section = {SECTION};
const struct conf_list policy_section_refused = {
	SECTION, .refused = "policies are the site's: only the system's wnodes.conf may have them"};

/* The rows of the table that have a value. */
static const size_t value_offsets[POLICY_KEY_COUNT] = {
	[POLICY_IMAGE] = offsetof(struct policy, values.image),
	[POLICY_CPUS] = offsetof(struct policy, values.cpus),
	[POLICY_MEMORY] = offsetof(struct policy, values.memory),
	[POLICY_SCRATCH] = offsetof(struct policy, values.scratch),
	[POLICY_MOUNT] = offsetof(struct policy, values.mount),
	[POLICY_NETWORK] = offsetof(struct policy, values.network),
	[POLICY_START] = offsetof(struct policy, values.start),
	[POLICY_ENV] = offsetof(struct policy, values.env),
	[POLICY_MPI] = offsetof(struct policy, values.mpi),
};

static const struct conf_setting *key_row(enum policy_key key)
{
	const struct conf_setting *row = policy_table;

	while (row->offset != value_offsets[key])
		row++;
	return row;
}

const char *policy_key_name(enum policy_key key)
{
	return key_row(key)->key;
}

static enum policy_vm parse_vm(const char *word)
{
	if (streq(word, "force"))
		return POLICY_FORCE;
	return streq(word, "forbid") ? POLICY_FORBID : POLICY_ALLOW;
}

/* What no single line can tell. */
static int policy_check(const struct policy *rule, struct error *err)
{
	for (int key = 0; key < POLICY_KEY_COUNT; key++)
		if ((rule->locked & (1u << key)) && !policy_has(&rule->values, key))
			return fail(err, -EINVAL, "%s is locked, but the rule sets none",
				policy_key_name(key));
	if (rule->vm == POLICY_FORBID && rule->values.given)
		return fail(err, -EINVAL, "a rule that forbids VMs says nothing of how they are");
	if (rule->vm != POLICY_FORBID && rule->message)
		return fail(err, -EINVAL, "only a rule with vm = forbid has a message");
	return 0;
}

/* Fills what the table does not. */
static int policy_complete(const struct conf_item *item, struct error *err)
{
	struct policy *rule = item->settings;

	rule->name = item->name;
	rule->line = item->line;
	rule->vm = parse_vm(rule->vm_word);
	for (int key = 0; key < POLICY_KEY_COUNT; key++) {
		if (item->given[key_row(key) - policy_table])
			rule->values.given |= 1u << key;
		for (char **word = rule->locked_words; *word; word++)
			if (streq(*word, policy_key_name(key)))
				rule->locked |= 1u << key;
	}
	return policy_check(rule, err);
}

int policies_check(const struct policies *p, const char *path, struct error *err)
{
	for (size_t i = 0; i < p->list.count; i++) {
		const struct conf_item *item = &p->list.items[i];

		if (policy_complete(item, err) < 0)
			return fail_within(err, "%s:%d: [policy %s]", path, item->line, item->name);
	}
	return 0;
}

int policies_load(
	struct policies *ret, struct settings *settings, const char *path, struct error *err)
{
	struct site_file file AUTO(site_file_done);
	int r = site_file_load(&file, settings, path, err);

	*ret = file.policies;
	file.policies = (struct policies){policy_section};
	return r;
}

int policies_load_over(struct policies *ret, struct settings *settings, const char *pushed,
	const char *path, struct error *err)
{
	struct site_file file AUTO(site_file_done);
	int r = site_file_load_over(&file, settings, pushed, path, err);

	*ret = file.policies;
	file.policies = (struct policies){policy_section};
	return r;
}

void policies_done(struct policies *p)
{
	conf_list_done(&p->list);
}

const struct policy *policies_get(const struct policies *p, size_t index)
{
	return p->list.items[index].settings;
}
