#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>

#include "engine/policy.h"
#include "lib/strv.h"

static const char *const condition_names[] = {
	[POLICY_PARTITION] = "partition",
	[POLICY_ACCOUNT] = "account",
	[POLICY_GROUP] = "group",
	[POLICY_USER] = "user",
	[POLICY_JOB_NAME] = "job name",
};

static bool list_has(char *const *globs, const char *text)
{
	for (; text && *globs; globs++)
		if (fnmatch(*globs, text, 0) == 0)
			return true;
	return false;
}

static bool list_has_any(char *const *globs, const char *const *texts)
{
	for (; texts && *texts; texts++)
		if (list_has(globs, *texts))
			return true;
	return false;
}

static const char *subject_text(const struct policy_subject *s, enum policy_condition condition)
{
	switch (condition) {
	case POLICY_PARTITION:
		return s->partition;
	case POLICY_ACCOUNT:
		return s->account;
	case POLICY_USER:
		return s->user;
	case POLICY_JOB_NAME:
		return s->job_name;
	default:
		return NULL;
	}
}

static bool condition_holds(const struct policy *rule, const struct policy_subject *subject,
	enum policy_condition condition)
{
	const char *text = subject_text(subject, condition);

	if (condition == POLICY_JOB_NAME)
		return !rule->job_name || (text && pattern_matches(rule->job_name, text));
	if (!rule->lists[condition] || !rule->lists[condition][0])
		return true;
	if (condition == POLICY_GROUP)
		return list_has_any(rule->lists[condition], subject->groups);
	return list_has(rule->lists[condition], text);
}

enum policy_condition policy_match(const struct policy *rule, const struct policy_subject *subject)
{
	int condition = 0;

	while (condition < POLICY_CONDITION_COUNT && condition_holds(rule, subject, condition))
		condition++;
	return condition;
}

/* "a, b, c", cut with "..." where there is no room. */
static void join(char *const *list, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (; list && *list && used < size; list++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", *list);
	if (used >= size)
		memcpy(text + size - sizeof("..."), "...", sizeof("..."));
}

static void explain_groups(
	const struct policy_subject *subject, const char *wanted, char text[POLICY_TEXT_MAX])
{
	char groups[POLICY_TEXT_MAX / 3];

	join((char *const *)(uintptr_t)subject->groups, groups, sizeof(groups));
	if (groups[0])
		snprintf(text, POLICY_TEXT_MAX, "no group (%s) is one of %s", groups, wanted);
	else
		snprintf(text, POLICY_TEXT_MAX, "no group is known, and the rule asks for %s",
			wanted);
}

const char *policy_explain(const struct policy *rule, const struct policy_subject *subject,
	enum policy_condition condition, char text[POLICY_TEXT_MAX])
{
	const char *name = condition_names[condition], *value = subject_text(subject, condition);
	char wanted[POLICY_TEXT_MAX / 2];

	if (condition == POLICY_JOB_NAME)
		snprintf(wanted, sizeof(wanted), "%s", pattern_text(rule->job_name));
	else
		join(rule->lists[condition], wanted, sizeof(wanted));
	if (condition == POLICY_GROUP)
		explain_groups(subject, wanted, text);
	else if (!value)
		snprintf(text, POLICY_TEXT_MAX, "no %s is known, and the rule asks for %s", name,
			wanted);
	else if (condition == POLICY_JOB_NAME)
		snprintf(
			text, POLICY_TEXT_MAX, "%s '%.80s' does not match %s", name, value, wanted);
	else
		snprintf(text, POLICY_TEXT_MAX, "%s '%.80s' is %s %s", name, value,
			rule->lists[condition][1] ? "none of" : "not", wanted);
	return text;
}

static char *text_copy(const char *text, bool *failed)
{
	char *copy = text ? strdup(text) : NULL;

	*failed |= text && !copy;
	return copy;
}

/* Both lists, one behind the other. */
static const char **list_concatenate(
	const char *const *first, const char *const *second, bool *failed)
{
	struct strv v AUTO(strv_done) = {0};

	for (; first && *first; first++)
		strv_add(&v, *first);
	for (; second && *second; second++)
		strv_add(&v, *second);
	*failed |= v.failed;
	if (v.failed)
		return NULL;
	v.count = 0;
	return (const char **)(uintptr_t)TAKE_PTR(v.items);
}

static enum policy_origin choose_origin(enum policy_key key, const struct policy *rule,
	const struct policy_values *asked, unsigned int *overruled)
{
	bool by_rule = rule && policy_has(&rule->values, key), by_job = policy_has(asked, key);

	if (by_rule && by_job && (rule->locked & (1u << key))) {
		*overruled |= 1u << key;
		return POLICY_FROM_RULE;
	}
	if (by_rule && by_job && (key == POLICY_MOUNT || key == POLICY_ENV))
		return POLICY_FROM_BOTH;
	if (by_job)
		return POLICY_FROM_JOB;
	return by_rule ? POLICY_FROM_RULE : POLICY_FROM_NOBODY;
}

static int fill_values(struct policy_decision *d, const struct policy *rule,
	const struct policy_values *asked, struct error *err)
{
	static const struct policy_values none;
	const struct policy_values *from[POLICY_KEY_COUNT];
	struct policy_values *v = &d->values;
	bool failed = false;

	for (int key = 0; key < POLICY_KEY_COUNT; key++) {
		d->origin[key] = choose_origin(key, rule, asked, &d->overruled);
		from[key] = d->origin[key] == POLICY_FROM_JOB      ? asked
			    : d->origin[key] == POLICY_FROM_NOBODY ? &none
								   : &rule->values;
		v->given |= d->origin[key] != POLICY_FROM_NOBODY ? 1u << key : 0;
	}
	v->cpus = from[POLICY_CPUS]->cpus;
	v->memory = from[POLICY_MEMORY]->memory;
	v->scratch = from[POLICY_SCRATCH]->scratch;
	v->image = text_copy(from[POLICY_IMAGE]->image, &failed);
	v->network = text_copy(from[POLICY_NETWORK]->network, &failed);
	v->start = text_copy(from[POLICY_START]->start, &failed);
	v->mpi = text_copy(from[POLICY_MPI]->mpi, &failed);
	v->mount = list_concatenate(from[POLICY_MOUNT]->mount,
		d->origin[POLICY_MOUNT] == POLICY_FROM_BOTH ? asked->mount : NULL, &failed);
	v->env = list_concatenate(from[POLICY_ENV]->env,
		d->origin[POLICY_ENV] == POLICY_FROM_BOTH ? asked->env : NULL, &failed);
	return failed ? fail(err, -ENOMEM, "out of memory") : 0;
}

static const struct policy *find_rule(
	const struct policies *policies, const struct policy_subject *subject)
{
	for (size_t i = 0; i < policies_count(policies); i++) {
		const struct policy *rule = policies_get(policies, i);

		if (policy_match(rule, subject) == POLICY_CONDITION_COUNT)
			return rule;
	}
	return NULL;
}

static void refuse(struct policy_decision *d)
{
	const char *message = d->rule->message;

	d->outcome = POLICY_REFUSED;
	snprintf(d->reason, sizeof(d->reason), "the site's policy '%s' forbids VMs here%s%s",
		d->rule->name, message && *message ? ": " : "", message ? message : "");
}

static void explain_outcome(struct policy_decision *d, bool wants_vm)
{
	const char *name = d->rule ? d->rule->name : "";
	bool forced = d->rule && d->rule->vm == POLICY_FORCE;

	if (!d->rule)
		snprintf(d->reason, sizeof(d->reason), "no policy matches, and the job %s",
			wants_vm ? "asks for a VM" : "asks for no VM");
	else if (forced)
		snprintf(d->reason, sizeof(d->reason), "the policy '%s' puts every job into a VM",
			name);
	else
		snprintf(d->reason, sizeof(d->reason),
			"the policy '%s' %s, and the job asks for %s", name,
			wants_vm ? "allows VMs" : "forces no VM", wants_vm ? "one" : "none");
}

int policy_decide(const struct policies *policies, const struct policy_subject *subject,
	bool wants_vm, const struct policy_values *asked, struct policy_decision *ret,
	struct error *err)
{
	const struct policy *rule = find_rule(policies, subject);
	int r = 0;

	*ret = (struct policy_decision){.rule = rule};
	wants_vm |= policy_has(asked, POLICY_IMAGE);
	if (rule && rule->vm == POLICY_FORBID && wants_vm) {
		refuse(ret);
		return 0;
	}
	explain_outcome(ret, wants_vm);
	if (wants_vm || (rule && rule->vm == POLICY_FORCE)) {
		ret->outcome = POLICY_IN_VM;
		r = fill_values(ret, rule, asked, err);
	}
	if (r < 0)
		policy_decision_done(ret);
	return r;
}

static void text_free(const char *text)
{
	free((void *)(uintptr_t)text);
}

static void list_free(const char **list)
{
	for (const char **item = list; item && *item; item++)
		text_free(*item);
	free(list);
}

void policy_decision_done(struct policy_decision *d)
{
	text_free(d->values.image);
	text_free(d->values.network);
	text_free(d->values.start);
	text_free(d->values.mpi);
	list_free(d->values.mount);
	list_free(d->values.env);
	*d = (struct policy_decision){0};
}
