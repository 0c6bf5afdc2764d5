/* The options of a VM, laid over the settings, become a request. */
#include "cli/vm_options.h"

#include <errno.h>

#include "lib/path.h"

struct vm_options_alone {
	struct vm_options vm;
};

static const struct verb_option rows[] = {
	VM_OPTIONS(struct vm_options_alone, vm),
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

static void fill_shape(struct request *r, const struct vm_options *o, const struct settings *s)
{
	r->image = either(o->image, s->image);
	r->cpus = o->cpus ? o->cpus : s->cpus;
	r->memory_mib = (o->memory ? o->memory : s->memory) / VM_OPTIONS_MIB;
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

static int fill_shares(struct request *r, const struct vm_options *o, const struct settings *s,
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
	struct request *r, const struct vm_options *o, const struct settings *s, struct error *err)
{
	int ret;

	caller_fill_env(r->caller, r->tty, &r->env);
	strv_env_set(&r->env, "WNODES_IMAGE", r->image);
	ret = add_env(r, (const char *const *)s->env, err);
	return ret < 0 ? ret : add_env(r, o->env.items, err);
}

/* The directory that the command starts in: where the current one is seen in the VM, else (nothing
 * of the host is seen) the home directory. --workdir counts from there. */
static int fill_workdir(struct request *r, const struct vm_options *o, bool none, struct error *err)
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

int vm_options_fill(
	const struct vm_options *options, bool tty, struct request *request, struct error *err)
{
	const struct settings *s = request->settings;
	bool none = false;
	int ret;

	fill_shape(request, options, s);
	request->tty = tty;
	request->report = options->report;
	request->progress = !options->verbose && isatty(STDERR_FILENO);
	ret = fill_shares(request, options, s, &none, err);
	if (ret == 0)
		ret = fill_env(request, options, s, err);
	if (ret == 0)
		ret = fill_workdir(request, options, none, err);
	if (ret == 0 && request->env.failed)
		ret = fail(err, -ENOMEM, "out of memory");
	return ret;
}

int vm_options_unparse(const struct vm_options *options, struct strv *ret)
{
	return verb_unparse(rows, options, ret);
}
