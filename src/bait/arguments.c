#include "bait/arguments.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "engine/network.h"
#include "lib/parse.h"

#define TIB (UINT64_C(1) << 40)

/* Numbers of the options; their names and variables are in the tables below. */
enum {
	A_LRMS = 1,
	A_IMAGE,
	A_CPUS,
	A_MEMORY,
	A_MOUNT,
	A_VOLUME,
	A_ROOT,
	A_NETWORK,
	A_SCRATCH,
	A_START,
	A_ENV,
	A_WORKDIR,
	A_MPI,
	A_SCRIPT,
	A_JOB_MEMORY,
	A_JOB_CPUS,
	A_LOCAL_TASKS,
};

static const struct option names[] = {
	{"lrms", required_argument, NULL, A_LRMS},
	{"image", required_argument, NULL, A_IMAGE},
	{"cpus", required_argument, NULL, A_CPUS},
	{"memory", required_argument, NULL, A_MEMORY},
	{"mount", required_argument, NULL, A_MOUNT},
	{"volume", required_argument, NULL, A_VOLUME},
	{"root", required_argument, NULL, A_ROOT},
	{"network", required_argument, NULL, A_NETWORK},
	{"scratch", required_argument, NULL, A_SCRATCH},
	{"start", required_argument, NULL, A_START},
	{"env", required_argument, NULL, A_ENV},
	{"workdir", required_argument, NULL, A_WORKDIR},
	{"mpi", required_argument, NULL, A_MPI},
	{"script", no_argument, NULL, A_SCRIPT},
	{"job-memory", required_argument, NULL, A_JOB_MEMORY},
	{"job-cpus", required_argument, NULL, A_JOB_CPUS},
	{"local-tasks", required_argument, NULL, A_LOCAL_TASKS},
	{NULL, 0, NULL, 0},
};

static const struct {
	const char *name;
	int option;
	bool list;
} variables[] = {
	{"WNODES_IMAGE", A_IMAGE, false},
	{"WNODES_CPUS", A_CPUS, false},
	{"WNODES_MEMORY", A_MEMORY, false},
	{"WNODES_MOUNT", A_MOUNT, true},
	{"WNODES_VOLUME", A_VOLUME, true},
	{"WNODES_ROOT", A_ROOT, false},
	{"WNODES_NETWORK", A_NETWORK, false},
	{"WNODES_SCRATCH", A_SCRATCH, false},
	{"WNODES_START", A_START, false},
	{"WNODES_ENV", A_ENV, true},
	{"WNODES_WORKDIR", A_WORKDIR, false},
	{"WNODES_MPI", A_MPI, false},
};

/* Options that are kept as they are, and the words that they may be. */
static const struct {
	int option;
	size_t offset;
	const char *choices;
} texts[] = {
	{A_LRMS, offsetof(struct arguments, lrms), NULL},
	{A_IMAGE, offsetof(struct arguments, options.image), NULL},
	{A_NETWORK, offsetof(struct arguments, options.network), NULL},
	{A_START, offsetof(struct arguments, options.start), "auto|clone|boot"},
	{A_ROOT, offsetof(struct arguments, options.root), SETTINGS_ROOTS},
	{A_WORKDIR, offsetof(struct arguments, options.workdir), NULL},
	{A_MPI, offsetof(struct arguments, mpi), NULL},
};

static const struct {
	int option;
	size_t offset;
	enum parse_kind kind;
	uint64_t min, max;
} quantities[] = {
	{A_CPUS, offsetof(struct arguments, options.cpus), PARSE_NUMBER, 1, 256},
	{A_MEMORY, offsetof(struct arguments, options.memory), PARSE_SIZE, 1, 64 * TIB},
	{A_SCRATCH, offsetof(struct arguments, options.scratch), PARSE_SIZE, 0, UINT64_MAX},
	{A_JOB_MEMORY, offsetof(struct arguments, job_memory_mib), PARSE_NUMBER, 0, UINT32_MAX},
	{A_JOB_CPUS, offsetof(struct arguments, job_cpus), PARSE_NUMBER, 0, UINT32_MAX},
	{A_LOCAL_TASKS, offsetof(struct arguments, local_tasks), PARSE_NUMBER, 1, UINT32_MAX},
};

static int set_text(struct arguments *a, size_t i, const char *value, struct error *err)
{
	const char **member = (const char **)((uint8_t *)a + texts[i].offset);

	*member = value;
	if (texts[i].option == A_NETWORK)
		return network_check_name(value, err);
	return texts[i].choices ? parse_choice(value, texts[i].choices, err) : 0;
}

static int set_quantity(struct arguments *a, size_t i, const char *value, struct error *err)
{
	uint64_t *member = (uint64_t *)(void *)((uint8_t *)a + quantities[i].offset);

	if (quantities[i].option == A_SCRATCH)
		a->options.scratch_given = true;
	return parse_quantity(
		quantities[i].kind, value, quantities[i].min, quantities[i].max, member, err);
}

static int set_value(struct arguments *a, int option, const char *value, struct error *err)
{
	if (option == A_MOUNT)
		strv_add(&a->mounts, value);
	if (option == A_VOLUME)
		strv_add(&a->volumes, value);
	if (option == A_ENV)
		strv_add(&a->env, value);
	if (option == A_SCRIPT)
		a->script = true;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].option == option)
			return set_text(a, i, value, err);
	for (size_t i = 0; i < ARRAY_SIZE(quantities); i++)
		if (quantities[i].option == option)
			return set_quantity(a, i, value, err);
	return 0;
}

static const char *option_name(int option)
{
	for (const struct option *o = names; o->name; o++)
		if (o->val == option)
			return o->name;
	return "?";
}

/* Adds to a wrong value's error which option it was. */
static int set(struct arguments *a, int option, const char *value, struct error *err)
{
	struct error why = {0};
	int r = set_value(a, option, value, &why);

	return r < 0 ? fail(err, r, "--%s: %s", option_name(option), why.text) : 0;
}

static int set_list(struct arguments *a, int option, const char *list, struct error *err)
{
	int r = 0;

	for (size_t n; *list && r == 0; list += n + (list[n] == ',')) {
		autofree char *value = NULL;

		n = strcspn(list, ",");
		value = strndup(list, n);
		if (!value)
			return fail(err, -ENOMEM, "out of memory");
		r = n > 0 ? set(a, option, value, err) : 0;
	}
	return r;
}

static int read_variables(struct arguments *a, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(variables) && r == 0; i++) {
		const char *value = getenv(variables[i].name);

		if (!value || !value[0])
			continue;
		r = variables[i].list ? set_list(a, variables[i].option, value, err)
				      : set(a, variables[i].option, value, err);
	}
	return r;
}

static int read_options(struct arguments *a, int argc, char **argv, struct error *err)
{
	int option, r = 0;

	opterr = 0;
	/* "+": the first word that is no option begins the command. */
	while (r == 0 && (option = getopt_long(argc, argv, "+", names, NULL)) != -1) {
		if (option == '?')
			return fail(err, -EINVAL,
				"'%s' is no option of wnodes-bait, or has no value",
				argv[optind - 1]);
		r = set(a, option, optarg, err);
	}
	return r;
}

int arguments_parse(struct arguments *ret, int argc, char **argv, struct error *err)
{
	int r;

	ret->local_tasks = 1;
	r = read_variables(ret, err);
	if (r == 0)
		r = read_options(ret, argc, argv, err);
	if (r < 0)
		return r;
	if (ret->mounts.failed || ret->volumes.failed || ret->env.failed)
		return fail(err, -ENOMEM, "out of memory");
	ret->command = (const char **)(uintptr_t)(argv + optind);
	if (!ret->command[0])
		return fail(err, -EINVAL, "no command; write wnodes-bait [options] -- COMMAND...");
	ret->options.mounts = strv_list(&ret->mounts);
	ret->options.volumes = strv_list(&ret->volumes);
	ret->options.env = strv_list(&ret->env);
	return 0;
}

void arguments_done(struct arguments *a)
{
	strv_done(&a->mounts);
	strv_done(&a->volumes);
	strv_done(&a->env);
}
