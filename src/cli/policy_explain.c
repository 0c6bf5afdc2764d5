/* wnodes policy test: which rule decides about a job, why not those before it, and what comes out.
 */
#include <errno.h>
#include <stdio.h>

#include "cli/policy.h"
#include "cli/table.h"
#include "engine/caller.h"
#include "engine/membership.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/path.h"

struct test_options {
	const char *user, *partition, *account, *job_name, *file;
	const char *image, *network, *start, *mpi;
	uint64_t cpus, memory, scratch;
	struct verb_list groups, mounts, env;
	bool vm, json, scratch_given;
};

#define OPTION(name, letter, type, member, argument, choices, complete, help, ...)            \
	{                                                                                     \
		name, letter, type, offsetof(struct test_options, member), argument, choices, \
			complete, help, __VA_ARGS__                                           \
	}

static const struct verb_option options[] = {
	OPTION("user", 'u', OPTION_STRING, user, "USER", NULL, NULL,
		"Whose job it is; your own by default"),
	OPTION("partition", 'p', OPTION_STRING, partition, "NAME", NULL, NULL,
		"Partition (queue) of the job"),
	OPTION("account", 'A', OPTION_STRING, account, "NAME", NULL, NULL,
		"Account that the job is booked on"),
	OPTION("group", 'g', OPTION_LIST, groups, "GROUP", NULL, NULL,
		"A group of the user. May be repeated. By default all that the account database "
		"knows of"),
	OPTION("job-name", 'J', OPTION_STRING, job_name, "NAME", NULL, NULL, "Name of the job"),
	OPTION("vm", 0, OPTION_FLAG, vm, NULL, NULL, NULL,
		"The job asks for a VM without naming an image, as it does with any other of the "
		"options that follow"),
	OPTION("image", 'i', OPTION_STRING, image, "NAME[:TAG]", NULL, "image",
		"The job asks for this image"),
	OPTION("cpus", 'c', OPTION_NUMBER, cpus, "N", NULL, NULL, "The job asks for so many CPUs",
		1, 256),
	OPTION("memory", 'm', OPTION_SIZE, memory, "SIZE", NULL, NULL,
		"The job asks for so much memory of the VM", 1 << 20, UINT64_C(64) << 40),
	OPTION("scratch", 0, OPTION_SIZE, scratch, "SIZE", NULL, NULL,
		"The job asks for such a scratch disk",
		.given = offsetof(struct test_options, scratch_given)),
	OPTION("mount", 'v', OPTION_LIST, mounts, "HOST[:GUEST][:ro][:gateway=NAME]", NULL, "dir",
		"The job asks for this directory. May be repeated"),
	OPTION("network", 0, OPTION_STRING, network, "none|user|NAME", NULL, NULL,
		"The job asks for this network"),
	OPTION("start", 0, OPTION_CHOICE, start, "HOW", SETTINGS_STARTS, NULL,
		"The job asks for this way to start"),
	OPTION("env", 'e', OPTION_LIST, env, "NAME[=VALUE]", NULL, NULL,
		"The job asks for this variable. May be repeated"),
	OPTION("mpi", 0, OPTION_STRING, mpi, "none|PROGRAM", NULL, NULL,
		"The job asks for this program to start its ranks"),
	OPTION("file", 0, OPTION_STRING, file, "FILE", NULL, "file",
		"Reads this file instead of the system's, for example one that is to become it"),
	OPTION("json", 0, OPTION_FLAG, json, NULL, NULL, NULL, "Prints JSON"),
	{.name = NULL},
};

static const struct table_column rule_columns[] = {
	{"name", "POLICY", TABLE_TEXT},
	{"line", "LINE", TABLE_NUMBER},
	{"matches", "MATCHES", TABLE_TEXT},
	{"why", "WHY", TABLE_TEXT},
	{.key = NULL},
};

static const struct table_column value_columns[] = {
	{"key", "OF THE VM", TABLE_TEXT},
	{"text", "VALUE", TABLE_TEXT},
	{"from", "FROM", TABLE_TEXT},
	{.key = NULL},
};

/* All that the question and the answer are made of. */
struct test {
	const struct test_options *options;
	struct settings settings;
	struct policies policies;
	struct caller caller;
	struct strv groups;
	struct policy_subject subject;
	struct policy_values asked;
	struct policy_decision decision;
	struct table *rules, *values;
};

static void test_done(struct test *t)
{
	policy_decision_done(&t->decision);
	policies_done(&t->policies);
	settings_done(&t->settings);
	caller_done(&t->caller);
	strv_done(&t->groups);
	table_free(t->rules);
	table_free(t->values);
}

static int fill_subject(struct test *t, struct error *err)
{
	const struct test_options *o = t->options;
	int r = 0;

	t->subject = (struct policy_subject){
		.user = o->user,
		.partition = o->partition,
		.account = o->account,
		.job_name = o->job_name,
	};
	if (!o->user)
		r = caller_load(&t->caller, err);
	if (!o->user && r == 0)
		t->subject.user = t->caller.name;
	for (size_t i = 0; i < o->groups.count; i++)
		strv_add(&t->groups, o->groups.items[i]);
	if (r == 0 && o->groups.count == 0) {
		r = membership_load(t->subject.user, &t->groups, err);
		if (r == -ENOENT)
			fail_within(err, "the groups are not known; give them with --group");
	}
	t->subject.groups = strv_list(&t->groups);
	return r == 0 && t->groups.failed ? fail(err, -ENOMEM, "out of memory") : r;
}

/* The job's flags. What they point to is the command line's. */
static void fill_asked(struct test *t)
{
	const struct test_options *o = t->options;
	const bool given[POLICY_KEY_COUNT] = {
		[POLICY_IMAGE] = o->image,
		[POLICY_CPUS] = o->cpus > 0,
		[POLICY_MEMORY] = o->memory > 0,
		[POLICY_SCRATCH] = o->scratch_given,
		[POLICY_MOUNT] = o->mounts.count > 0,
		[POLICY_NETWORK] = o->network,
		[POLICY_START] = o->start,
		[POLICY_ENV] = o->env.count > 0,
		[POLICY_MPI] = o->mpi,
	};

	t->asked = (struct policy_values){
		.image = o->image,
		.cpus = o->cpus,
		.memory = o->memory,
		.scratch = o->scratch,
		.mount = o->mounts.items,
		.network = o->network,
		.start = o->start,
		.env = o->env.items,
		.mpi = o->mpi,
	};
	for (int key = 0; key < POLICY_KEY_COUNT; key++)
		t->asked.given |= given[key] ? 1u << key : 0;
}

/* A row for each rule: up to the one that matches they say why; those behind it are not looked at.
 */
static int fill_rules(struct test *t)
{
	bool decided = false;
	int r = 0;

	for (size_t i = 0; i < policies_count(&t->policies) && r == 0; i++) {
		const struct policy *rule = policies_get(&t->policies, i);
		enum policy_condition failed = policy_match(rule, &t->subject);
		bool matches = failed == POLICY_CONDITION_COUNT;
		char why[POLICY_TEXT_MAX] = "one before it decides";

		if (!decided && matches)
			snprintf(why, sizeof(why), "all that it asks for holds");
		else if (!decided)
			policy_explain(rule, &t->subject, failed, why);
		r = table_add(t->rules, json_pack("{s:s, s:i, s:b, s:b, s:s}", "name", rule->name,
						"line", rule->line, "looked_at", !decided,
						"matches", !decided && matches, "why", why));
		decided |= matches;
	}
	return r;
}

static const char *origin_text(const struct test *t, enum policy_key key)
{
	static const char *const texts[] = {
		[POLICY_FROM_JOB] = "the job",
		[POLICY_FROM_RULE] = "the policy",
		[POLICY_FROM_BOTH] = "the policy, the job",
	};

	if (t->decision.overruled & (1u << key))
		return "the policy, which locks it: the job's is not taken";
	if (t->decision.origin[key] != POLICY_FROM_NOBODY)
		return texts[t->decision.origin[key]];
	return key == POLICY_CPUS || key == POLICY_MEMORY ? "the job's allocation" : "[run]";
}

/* What the system's file gives where neither rule nor job do. */
static void fill_defaults(const struct test *t, struct policy_values *ret)
{
	const struct settings *s = &t->settings;

	*ret = (struct policy_values){
		.image = s->image,
		.scratch = s->scratch,
		.mount = (const char **)(uintptr_t)s->mount,
		.network = s->network,
		.start = s->start,
		.env = (const char **)(uintptr_t)s->env,
		.mpi = "none",
	};
}

static int fill_values(struct test *t)
{
	struct policy_values defaults;
	int r = 0;

	fill_defaults(t, &defaults);
	for (int key = 0; key < POLICY_KEY_COUNT && r == 0; key++) {
		bool decided = t->decision.origin[key] != POLICY_FROM_NOBODY;
		bool allocated = !decided && (key == POLICY_CPUS || key == POLICY_MEMORY);
		const struct policy_values *v = decided ? &t->decision.values : &defaults;
		autofree char *text = allocated ? NULL : policy_value_to_text(v, key);

		r = table_add(t->values,
			json_pack("{s:s, s:o*, s:s*, s:s, s:b}", "key", policy_key_name(key),
				"value", allocated ? NULL : policy_value_to_json(v, key), "text",
				text, "from", origin_text(t, key), "overruled",
				!!(t->decision.overruled & (1u << key))));
	}
	return r;
}

static int test_decide(struct test *t, struct error *err)
{
	int r = policy_read(t->options->file, &t->policies, &t->settings, err);

	if (r == 0)
		r = fill_subject(t, err);
	if (r < 0)
		return r;
	fill_asked(t);
	r = policy_decide(&t->policies, &t->subject, t->options->vm || policy_wants_vm(&t->asked),
		&t->asked, &t->decision, err);
	if (r == 0)
		r = fill_rules(t);
	if (r == 0 && t->decision.outcome == POLICY_IN_VM)
		r = fill_values(t);
	return r == -ENOMEM ? fail(err, r, "out of memory") : r;
}

static const char *outcome_text(enum policy_outcome outcome)
{
	static const char *const texts[] = {
		[POLICY_BARE] = "bare", [POLICY_IN_VM] = "vm", [POLICY_REFUSED] = "refused"};

	return texts[outcome];
}

static int print_text(const struct test *t)
{
	static const char *const results[] = {
		[POLICY_BARE] = "runs on the node itself, without a VM",
		[POLICY_IN_VM] = "runs in a VM",
		[POLICY_REFUSED] = "is refused",
	};
	int r = policies_count(&t->policies) > 0 ? table_print(t->rules, stdout) : 0;

	printf("%sThe job %s: %s.\n", policies_count(&t->policies) > 0 ? "\n" : "",
		results[t->decision.outcome], t->decision.reason);
	if (r == 0 && t->decision.outcome == POLICY_IN_VM) {
		putchar('\n');
		r = table_print(t->values, stdout);
	}
	return r;
}

static json_t *subject_to_json(const struct test *t)
{
	return json_pack("{s:s?, s:s?, s:s?, s:s?, s:o}", "user", t->subject.user, "partition",
		t->subject.partition, "account", t->subject.account, "job_name",
		t->subject.job_name, "groups", json_from_strings(t->subject.groups));
}

static int print_json(const struct test *t)
{
	const struct policy_decision *d = &t->decision;
	json_t *json = json_pack("{s:o, s:s, s:s?, s:s, s:O, s:O}", "subject", subject_to_json(t),
		"decision", outcome_text(d->outcome), "policy", d->rule ? d->rule->name : NULL,
		"reason", d->reason, "policies", table_rows(t->rules), "values",
		table_rows(t->values));
	int r = json ? json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : -1;

	json_decref(json);
	putchar('\n');
	return r < 0 ? -ENOMEM : 0;
}

static int run_test(const void *options_struct, int arg_count, const char *const *args)
{
	const struct test_options *o = options_struct;
	struct test t AUTO(test_done) = {
		.options = o,
		.policies = {policy_section},
		.rules = table_new(rule_columns),
		.values = table_new(value_columns),
	};
	struct error err = {.text = "out of memory"};
	int r = t.rules && t.values ? test_decide(&t, &err) : -ENOMEM;

	if (r == 0)
		r = o->json ? print_json(&t) : print_text(&t);
	if (r < 0)
		log_error("%s", err.text);
	return r < 0 ? EXIT_WNODES : EXIT_SUCCESS;
}

const struct verb verb_policy_test = {
	.name = "policy test",
	.synopsis = "[options]",
	.summary = "Explain what the site's policies make of a job",
	.about =
		"Says whether a job would get a VM, and which: each policy that is looked at, why "
		"it does not match, the one that does, and what comes out of it together with "
		"what the job asks for itself. Nothing is started.\n"
		"\n"
		"What is not given is not known, and a policy that asks for it does not match. Policies "
		"are read from the system's wnodes.conf; a user's own file cannot have "
		"any.\n"
		"\n"
		"The exit status is 0 whatever the decision is, and 125 if there is none, for "
		"example because of a mistake in the file.",
	.examples = "wnodes policy test --user alice --partition long\n"
		    "# What would become of srun --vm-image=el9 -J production-17\n"
		    "wnodes policy test --job-name production-17 --image el9\n"
		    "# Before a change is put in force\n"
		    "wnodes policy test --file ./wnodes.conf --partition long --json\n",
	.options = options,
	.options_size = sizeof(struct test_options),
	.run = run_test,
};
