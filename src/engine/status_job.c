#include "engine/status_job.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/parse.h"
#include "lrms/process.h"

/* Steps that Slurm numbers from the end: its names for them. */
static const struct {
	uint64_t number;
	const char *name;
} slurm_steps[] = {
	{UINT32_MAX - 4, "batch"},
	{UINT32_MAX - 5, "interactive"},
};

static void host_name(char ret[STATUS_WORD_MAX])
{
	char host[256];

	if (gethostname(host, sizeof(host)) < 0)
		host[0] = '\0';
	host[sizeof(host) - 1] = '\0';
	host[strcspn(host, ".")] = '\0';
	snprintf(ret, STATUS_WORD_MAX, "%.63s", status_is_word(host) ? host : "localhost");
}

void status_job_local_cluster(char ret[STATUS_WORD_MAX])
{
	char host[STATUS_WORD_MAX];

	host_name(host);
	snprintf(ret, STATUS_WORD_MAX, STATUS_LOCAL "%.57s", host);
}

/* Copies a variable that is a word; returns whether it is. */
static bool take(const char *variable, char ret[STATUS_WORD_MAX])
{
	const char *value = getenv(variable);

	if (!value || !status_is_word(value))
		return false;
	snprintf(ret, STATUS_WORD_MAX, "%s", value);
	return true;
}

static void name_slurm_step(char step[STATUS_WORD_MAX])
{
	uint64_t number;

	if (parse_number(step, 0, UINT32_MAX, &number, NULL) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(slurm_steps); i++)
		if (number == slurm_steps[i].number)
			snprintf(step, STATUS_WORD_MAX, "%s", slurm_steps[i].name);
}

static bool find_slurm(struct status_job *ret)
{
	const char *restart = getenv("SLURM_RESTART_COUNT");

	if (!take("SLURM_JOB_ID", ret->job))
		return false;
	if (!take("SLURM_STEP_ID", ret->step))
		snprintf(ret->step, sizeof(ret->step), "batch");
	name_slurm_step(ret->step);
	if (!take("SLURM_CLUSTER_NAME", ret->cluster))
		snprintf(ret->cluster, sizeof(ret->cluster), "slurm");
	if (!take("SLURMD_NODENAME", ret->node))
		host_name(ret->node);
	if (restart)
		parse_number(restart, 0, UINT32_MAX, &ret->restart, NULL);
	return true;
}

/* A queue's runner may itself have been started in a job of Slurm. */
bool status_job_find(struct status_job *ret)
{
	*ret = (struct status_job){0};
	if (take("WNODES_JOB_ID", ret->job)) {
		status_job_local_cluster(ret->cluster);
		host_name(ret->node);
	} else if (!find_slurm(ret)) {
		return false;
	}
	return !strchr(ret->job, '.');
}

static void pid_namespace(char ret[40])
{
	ssize_t n = readlink("/proc/self/ns/pid", ret, 39);

	ret[n > 0 ? n : 0] = '\0';
}

void status_starter_set(struct status_starter *ret)
{
	struct process process;

	*ret = (struct status_starter){.pid = (uint64_t)getpid()};
	if (process_find(getpid(), &process) == 0)
		ret->start = process.start;
	if (process_boot_id(ret->boot) < 0)
		ret->boot[0] = '\0';
	pid_namespace(ret->space);
}

enum status_life status_starter_look(const struct status_starter *starter, const char *node)
{
	char boot[PROCESS_BOOT_ID_MAX], space[40], host[STATUS_WORD_MAX];
	struct process process;
	int r = process_boot_id(boot);

	if (r < 0 || !starter->boot[0])
		return STATUS_UNKNOWN;
	host_name(host);
	if (!streq(boot, starter->boot)) /* this host has been started anew since then */
		return streq(host, node) ? STATUS_DEAD : STATUS_UNKNOWN;
	pid_namespace(space);
	if (!streq(space, starter->space))
		return STATUS_UNKNOWN;
	r = process_find((pid_t)starter->pid, &process);
	if (r == -ESRCH || (r == 0 && process.start != starter->start))
		return STATUS_DEAD;
	return r == 0 ? STATUS_ALIVE : STATUS_UNKNOWN;
}
