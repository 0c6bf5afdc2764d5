/* wnodes run: the options, laid over the settings, become a request. */
#include "cli/run.h"

#include <errno.h>

#include "engine/run.h"
#include "lib/log.h"
#include "lib/path.h"

#define MIB UINT64_C(1048576)

struct run_options {
	const char *image, *workdir, *network, *accel, *start, *report;
	uint64_t cpus, memory, scratch, timeout;
	struct verb_list mounts, env;
	bool tty, verbose, scratch_given, timeout_given;
};

#define OPTION(name, letter, type, member, argument, choices, complete, help, ...)           \
	{                                                                                    \
		name, letter, type, offsetof(struct run_options, member), argument, choices, \
			complete, help, __VA_ARGS__                                          \
	}

static const struct verb_option options[] = {
	OPTION("image", 'i', OPTION_STRING, image, "NAME[:TAG]", NULL, "image",
		"Image to start from; see wnodes image list"),
	OPTION("cpus", 'c', OPTION_NUMBER, cpus, "N", NULL, NULL, "Virtual CPUs", 1, 256),
	OPTION("memory", 'm', OPTION_SIZE, memory, "SIZE", NULL, NULL,
		"Memory of the VM, for example 2G", MIB, 64 * MIB * MIB),
	OPTION("scratch", 0, OPTION_SIZE, scratch, "SIZE", NULL, NULL,
		"Adds an empty disk of this size, seen as /scratch and /tmp; 0: none, whatever the "
		"settings say",
		.given = offsetof(struct run_options, scratch_given)),
	OPTION("mount", 'v', OPTION_LIST, mounts, "HOST[:GUEST][:ro]", NULL, "dir",
		"Shows the host directory HOST in the VM, at the same path or at GUEST. May be "
		"repeated. The current directory and $HOME are mounted without asking, unless one "
		"of the mounts is none"),
	OPTION("workdir", 'w', OPTION_STRING, workdir, "DIR", NULL, NULL,
		"Directory in the VM that the command starts in; the current one by default, from "
		"which a relative DIR counts"),
	OPTION("env", 'e', OPTION_LIST, env, "NAME[=VALUE]", NULL, NULL,
		"Environment variable for the command; without a value, your own one. NAME may be a "
		"pattern such as 'OMP_*'. May be repeated"),
	OPTION("network", 0, OPTION_CHOICE, network, "KIND", "none|user", NULL,
		"none, or user: the VM reaches the network as you do, nothing reaches it"),
	OPTION("timeout", 0, OPTION_DURATION, timeout, "DURATION", NULL, NULL,
		"Ends the command with SIGTERM after this time, for example 1h30m, and the VM after "
		"a grace; the exit status is then 124. 0: no limit, whatever the settings say",
		.given = offsetof(struct run_options, timeout_given)),
	OPTION("tty", 't', OPTION_FLAG, tty, NULL, NULL, NULL,
		"Gives the command a terminal: job control, full-screen programs, Ctrl-C"),
	OPTION("accel", 0, OPTION_CHOICE, accel, "KIND", "auto|kvm|tcg", NULL,
		"kvm, tcg (software emulation, slow), or auto: kvm if guests run with it"),
	OPTION("start", 0, OPTION_CHOICE, start, "HOW", "auto|clone|boot", NULL,
		"clone: from a template of the image, in a tenth of a second; boot; or auto: clone "
		"if there is a template, else boot, and make one in the background"),
	OPTION("report", 0, OPTION_STRING, report, "FILE", NULL, "file",
		"Writes a JSON report: phases with their times, exit status, bytes, memory"),
	OPTION("verbose", 0, OPTION_FLAG, verbose, NULL, NULL, NULL, "Says what is done"),
	{.name = NULL},
};

static const char *either(const char *option, const char *setting)
{
	return option ? option : setting;
}

static enum request_start parse_start(const char *name)
{
	if (streq(name, "boot"))
		return REQUEST_START_BOOT;
	return streq(name, "clone") ? REQUEST_START_CLONE : REQUEST_START_AUTO;
}

static void fill_shape(struct request *r, const struct run_options *o, const struct settings *s)
{
	r->image = either(o->image, s->image);
	r->cpus = o->cpus ? o->cpus : s->cpus;
	r->memory_mib = (o->memory ? o->memory : s->memory) / MIB;
	r->scratch_bytes = o->scratch_given ? o->scratch : s->scratch;
	r->timeout_us = o->timeout_given ? o->timeout : s->timeout;
	r->network =
		streq(either(o->network, s->network), "user") ? VM_NETWORK_USER : VM_NETWORK_NONE;
	r->accel = accel_parse(either(o->accel, s->accel));
	r->start = parse_start(either(o->start, s->start));
}

/* Adds mounts, and learns whether one of them is "none". */
static int add_mounts(struct request *r, const char *const *list, bool *none, struct error *err)
{
	int ret = 0;

	for (; list && *list && ret == 0; list++)
		if (streq(*list, "none"))
			*none = true;
		else
			ret = share_add(&r->shares, *list, err);
	return ret;
}

static int fill_shares(struct request *r, const struct run_options *o, const struct settings *s,
	bool *ret_none, struct error *err)
{
	int ret = add_mounts(r, o->mounts.items, ret_none, err);

	if (ret == 0)
		ret = add_mounts(r, (const char *const *)s->mount, ret_none, err);
	if (ret == 0 && !*ret_none)
		ret = share_add_defaults(&r->shares, r->caller, err);
	share_sort(&r->shares);
	return ret;
}

static int add_env(struct request *r, const char *const *list, struct error *err)
{
	int ret = 0;

	for (; list && *list && ret == 0; list++)
		ret = request_add_env(r, *list, err);
	return ret;
}

static int fill_env(
	struct request *r, const struct run_options *o, const struct settings *s, struct error *err)
{
	int ret;

	caller_fill_env(r->caller, o->tty, &r->env);
	strv_env_set(&r->env, "WNODES_IMAGE", r->image);
	ret = add_env(r, (const char *const *)s->env, err);
	return ret < 0 ? ret : add_env(r, o->env.items, err);
}

/* The directory that the command starts in: where the current one is seen in the VM, else (nothing
 * of the host is seen) the home directory. --workdir counts from there. */
static int fill_workdir(
	struct request *r, const struct run_options *o, bool none, struct error *err)
{
	const char *directory = r->caller->directory;

	autofree char *start = directory ? share_translate(&r->shares, directory) : NULL;

	if (!start)
		start = strdup(none || !directory ? r->caller->home : directory);
	if (start && o->workdir && o->workdir[0] != '/')
		r->workdir = path_format("%s/%s", start, o->workdir);
	else if (start)
		r->workdir = o->workdir ? strdup(o->workdir) : TAKE_PTR(start);
	return r->workdir ? 0 : fail(err, -ENOMEM, "out of memory");
}

static int fill_request(struct request *r, const struct run_options *o, struct error *err)
{
	const struct settings *s = r->settings;
	bool none = false;
	int ret;

	fill_shape(r, o, s);
	r->tty = o->tty;
	r->report = o->report;
	r->usage = o->report;
	r->progress = !o->verbose && isatty(STDERR_FILENO);
	ret = fill_shares(r, o, s, &none, err);
	if (ret == 0)
		ret = fill_env(r, o, s, err);
	if (ret == 0)
		ret = fill_workdir(r, o, none, err);
	if (ret == 0 && r->env.failed)
		ret = fail(err, -ENOMEM, "out of memory");
	return ret;
}

static int run_run(const void *options_struct, int arg_count, const char *const *args)
{
	const struct run_options *o = options_struct;
	struct settings settings AUTO(settings_done) = {0};
	struct caller caller AUTO(caller_done) = {0};
	struct request request AUTO(request_done) = {
		.caller = &caller, .settings = &settings, .argv = (const char **)(uintptr_t)args};
	struct error err = {0};

	if (o->verbose)
		log_set("wnodes", LOG_LEVEL_DEBUG);
	if (settings_load(&settings, &err) < 0 || caller_load(&caller, &err) < 0 ||
		fill_request(&request, o, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_WNODES;
	}
	return run_execute(&request);
}

const struct verb verb_run = {
	.name = "run",
	.synopsis = "[options] -- COMMAND [ARG...]",
	.summary = "Run a command in a fresh VM",
	.about =
		"Starts a VM from an image, runs COMMAND in it as you, with your current directory "
		"and your home directory at their own paths, and ends the VM. Input, output, signals "
		"and the exit status are the command's own. What the command writes elsewhere in the "
		"VM is thrown away.\n"
		"\n"
		"Neither a daemon nor root is needed. Defaults come from "
		"~/.config/wnodes/wnodes.conf, then /etc/wnodes/wnodes.conf.\n"
		"\n"
		"SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT and SIGTSTP are passed on "
		"to the command. A second SIGTERM, or ten seconds after the first, ends the VM. With "
		"--tty, the end of your terminal (SIGHUP) is the end of the command's: it is hung up, "
		"and ten seconds later the VM ends. Under nohup(1) SIGHUP is ignored.\n"
		"\n"
		"The exit status is the command's; 128+N if it died of signal N; 127 if it was not "
		"found and 126 if it could not be run; 124 if its time ran out; 125 if WNoDeS failed, "
		"and then one line says in which phase and why.",
	.examples =
		"# A program of another system, on files of this directory\n"
		"wnodes run --image debian -- python3 analyse.py data.csv\n"
		"# An interactive shell with four CPUs\n"
		"wnodes run --tty --cpus 4 --memory 4G -- bash\n"
		"# Only one directory, read-only, and no network\n"
		"wnodes run --mount none --mount /data:/in:ro --network none -- sha256sum /in/a\n",
	.options = options,
	.options_size = sizeof(struct run_options),
	.min_args = 1,
	.max_args = -1,
	.args_complete = "command",
	.run = run_run,
};
