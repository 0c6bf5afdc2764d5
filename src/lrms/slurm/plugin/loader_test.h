/* Slurm as the plugin sees it, without Slurm: the functions that it calls, and what they answer. */
#pragma once

#include <slurm/spank.h>

#include "lib/base.h"

/* What the plugin gets to hear, set by tests; loader_open() resets it. */
struct loader {
	spank_context_t context;
	const char *major, *minor;
	uint64_t step_memory, job_memory;
	uint16_t cpus;
	uint32_t local_tasks;
	uint32_t step;
	const char **argv, **env;
	const char *mem; /* --mem where a job is submitted; NULL: not given */
	/* What it said and did. */
	struct spank_option options[32];
	int option_count;
	char job_control[2048]; /* "NAME=VALUE\n"... */
	char messages[4096];    /* of slurm_error() */
	/* The plugin's hooks. */
	void *handle;
	spank_f *init, *init_post_opt, *task_init;
};

extern struct loader loader;

/* Loads the plugin anew, as a new process would. */
void loader_open(spank_context_t context);
void loader_close(void);

/* Calls the option's callback, as Slurm does. Returns what it returns, or -2 if there is none. */
int loader_set_option(const char *name, const char *value, int remote);
