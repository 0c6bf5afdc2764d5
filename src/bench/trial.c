#include "bench/trial.h"

#define HIGHER(key, title, unit)                 \
	{                                        \
		key, title, unit, .lower = false \
	}
#define LOWER(key, title, unit)                 \
	{                                       \
		key, title, unit, .lower = true \
	}

/* Processor time on both sides of a share or a network, beside its rate. */
#define COST(key, title)                            \
	LOWER(key "_cpu", title ", CPU here", "s"), \
		LOWER(key "_host_cpu", title ", CPU of the host", "s")

const struct trial trials[] = {
	{.name = "start",
		.title = "start and end of a command",
		.wall = true,
		.figures = {LOWER("wall", "a command that does nothing", "s")}},
	{.name = "checksum",
		.title = "one core: whole numbers",
		.figures = {HIGHER("rate", "SHA-256", "MB/s")}},
	{.name = "hep",
		.title = "one core: particle physics",
		.figures = {HIGHER("rate", "events made, clustered and written", "1/s")}},
	{.name = "hpcc",
		.title = "HPC Challenge, all cores",
		.figures = {HIGHER("hpl", "HPL (linear equations)", "GFlop/s"),
			HIGHER("dgemm", "DGEMM, each core", "GFlop/s"),
			HIGHER("stream", "STREAM triad, each core", "GB/s"),
			HIGHER("random", "RandomAccess", "MUP/s"), HIGHER("fft", "FFT", "GFlop/s"),
			LOWER("latency", "MPI, message there and back", "us")}},
	{.name = "memory",
		.title = "memory, one core",
		.figures = {HIGHER("memcpy", "memcpy", "MiB/s"),
			HIGHER("dumb", "a loop over words", "MiB/s")}},
	{.name = "disk",
		.title = "local disk",
		.figures = {HIGHER("write", "write", "MB/s"),
			HIGHER("rewrite", "write again", "MB/s"), HIGHER("read", "read", "MB/s"),
			HIGHER("reread", "read again", "MB/s"),
			HIGHER("random_read", "read at random", "MB/s"),
			HIGHER("random_write", "write at random", "MB/s")}},
	{.name = "bonnie",
		.title = "local disk, bonnie++",
		.figures = {HIGHER("write", "write blocks", "MB/s"),
			HIGHER("rewrite", "rewrite", "MB/s"), HIGHER("read", "read blocks", "MB/s"),
			HIGHER("seeks", "seeks", "1/s"), HIGHER("create", "files made", "1/s"),
			HIGHER("remove", "files removed", "1/s")}},
	{.name = "gromacs",
		.title = "GROMACS",
		.figures = {HIGHER("serial", "serial", "ns/day"),
			HIGHER("mpi", "MPI, all cores", "ns/day")}},
	{.name = "share",
		.title = "shared directories",
		.kind = TRIAL_SHARE,
		.figures = {HIGHER("write", "write", "MB/s"), HIGHER("read", "read", "MB/s"),
			HIGHER("create", "files made", "1/s"),
			HIGHER("stat", "files looked at", "1/s"),
			HIGHER("remove", "files removed", "1/s"), COST("write", "write"),
			COST("read", "read"), COST("create", "files made")}},
	{.name = "network",
		.title = "network",
		.kind = TRIAL_NETWORK,
		.figures = {HIGHER("up", "TCP to the host", "Mbit/s"),
			HIGHER("down", "TCP from the host", "Mbit/s"),
			LOWER("latency", "TCP latency", "us"), COST("up", "to the host"),
			COST("down", "from the host")}},
	{.name = NULL},
};

const struct trial *trial_find(const char *name)
{
	for (const struct trial *t = trials; t->name; t++)
		if (streq(t->name, name))
			return t;
	return NULL;
}

int trial_find_figure(const struct trial *t, const char *key)
{
	for (int i = 0; i < TRIAL_FIGURES_MAX && t->figures[i].key; i++)
		if (streq(t->figures[i].key, key))
			return i;
	return -1;
}
