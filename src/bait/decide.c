#include "bait/decide.h"

#include <pwd.h>

#include "engine/membership.h"

/* By this image a job inside another one's allocation says that it wants none. */
#define NO_IMAGE "none"

static void fill_asked(const struct arguments *a, struct policy_values *ret)
{
	const struct options *o = &a->options;
	const bool given[POLICY_KEY_COUNT] = {
		[POLICY_IMAGE] = o->image != NULL,
		[POLICY_CPUS] = o->cpus > 0,
		[POLICY_MEMORY] = o->memory > 0,
		[POLICY_SCRATCH] = o->scratch_given,
		[POLICY_MOUNT] = o->mounts != NULL,
		[POLICY_NETWORK] = o->network != NULL,
		[POLICY_START] = o->start != NULL,
		[POLICY_ENV] = o->env != NULL,
		[POLICY_MPI] = a->mpi != NULL,
	};

	*ret = (struct policy_values){
		.image = o->image,
		.cpus = o->cpus,
		.memory = o->memory,
		.scratch = o->scratch,
		.mount = (const char **)(uintptr_t)o->mounts,
		.network = o->network,
		.start = o->start,
		.env = (const char **)(uintptr_t)o->env,
		.mpi = a->mpi,
	};
	for (int key = 0; key < POLICY_KEY_COUNT; key++)
		ret->given |= given[key] ? 1u << key : 0;
}

static void lay_over(const struct policy_decision *d, struct arguments *a)
{
	const struct policy_values *v = &d->values;
	struct options *o = &a->options;

	o->image = v->image;
	o->cpus = v->cpus;
	o->memory = v->memory;
	o->scratch = v->scratch;
	o->scratch_given = policy_has(v, POLICY_SCRATCH);
	o->mounts = (const char *const *)v->mount;
	o->network = v->network;
	o->start = v->start;
	o->env = (const char *const *)v->env;
	a->mpi = v->mpi;
}

int decide_load(struct decide *ret, const char *path, struct arguments *a, struct error *err)
{
	const struct passwd *account = getpwuid(getuid());
	struct strv groups AUTO(strv_done) = {0};
	struct policy_subject subject = {
		.user = account ? account->pw_name : NULL,
		.partition = getenv("SLURM_JOB_PARTITION"),
		.account = getenv("SLURM_JOB_ACCOUNT"),
		.job_name = getenv("SLURM_JOB_NAME"),
	};
	struct policy_values asked;
	bool declined = a->options.image && streq(a->options.image, NO_IMAGE);
	int r;

	*ret = (struct decide){0};
	/* A user without an account is in no group that has a name. */
	if (subject.user && membership_load(subject.user, &groups, err) == 0)
		subject.groups = strv_list(&groups);
	*err = (struct error){0};
	if (declined)
		a->options.image = NULL;
	fill_asked(a, &asked);
	r = policies_load_over(&ret->policies, NULL, settings_pushed_file(), path, err);
	if (r == 0)
		r = policy_decide(&ret->policies, &subject, policy_wants_vm(&asked) && !declined,
			&asked, &ret->decision, err);
	if (r == 0)
		lay_over(&ret->decision, a);
	a->policy = r == 0 && ret->decision.rule ? ret->decision.rule->name : NULL;
	return r;
}

void decide_done(struct decide *d)
{
	policy_decision_done(&d->decision);
	policies_done(&d->policies);
}
