#include "engine/options.h"

#include <errno.h>

#include "engine/network.h"
#include "lib/path.h"

#define MIB UINT64_C(1048576)

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

static enum vm_network parse_network(const char *name)
{
	if (streq(name, "none"))
		return VM_NETWORK_NONE;
	return streq(name, "user") ? VM_NETWORK_USER : VM_NETWORK_TAP;
}

static void fill_shape(struct request *r, const struct options *o, const struct settings *s)
{
	r->image = either(o->image, s->image);
	r->cpus = o->cpus ? o->cpus : s->cpus;
	r->memory_mib = (o->memory ? o->memory : s->memory) / MIB;
	r->scratch_bytes = o->scratch_given ? o->scratch : s->scratch;
	r->disk_iops = o->disk_iops ? o->disk_iops : s->disk_iops;
	r->disk_rate = o->disk_rate ? o->disk_rate : s->disk_rate;
	r->timeout_us = o->timeout_given ? o->timeout : s->timeout;
	r->network_name = either(o->network, s->network);
	r->network = parse_network(r->network_name);
	r->accel = accel_parse(either(o->accel, s->accel));
	r->start = parse_start(either(o->start, s->start));
	r->root_lvm = streq(either(o->root, s->root), "lvm");
}

static int check_start(const struct request *r, struct error *err)
{
	if (r->root_lvm && r->start == REQUEST_START_CLONE)
		return fail(err, -EINVAL,
			"a VM with its root disk on a volume boots; leave out --start clone, or use "
			"--root overlay");
	return 0;
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

/* What was asked for, then what is usual; of both what the site lets the VM have. */
static int fill_shares(struct request *r, const struct options *o, const struct settings *s,
	bool *ret_none, struct error *err)
{
	struct sharing sharing AUTO(sharing_done) = {0};
	size_t asked;
	int ret;

	r->shares.usual = streq(s->gateway, "auto") ? NULL : gateway_find(s->gateway);
	ret = add_mounts(r, o->mounts, ret_none, err);
	if (ret == 0)
		ret = add_mounts(r, (const char *const *)s->mount, ret_none, err);
	if (ret == 0)
		ret = sharing_load(&sharing, settings_pushed_file(), settings_site_file(), err);
	if (ret == 0)
		ret = share_restrict(&r->shares, 0, &sharing, r->caller, true, err);
	asked = r->shares.count;
	if (ret == 0 && !*ret_none)
		ret = share_add_defaults(&r->shares, r->caller, err);
	if (ret == 0)
		ret = share_restrict(&r->shares, asked, &sharing, r->caller, false, err);
	share_sort(&r->shares);
	return ret;
}

/* They take their slots from those of shares. */
static int fill_volumes(struct request *r, const struct options *o, struct error *err)
{
	int ret = 0;

	for (const char *const *i = o->volumes; i && *i && ret == 0; i++)
		ret = volume_add(&r->volumes, *i, err);
	if (ret == 0 && r->volumes.count > 0 && r->start == REQUEST_START_CLONE)
		return fail(err, -EINVAL, "a VM with volumes boots; leave out --start clone");
	if (ret == 0 && r->shares.count + r->volumes.count > VM_SHARES_MAX)
		return fail(err, -E2BIG, "more than %d mounts and volumes", VM_SHARES_MAX);
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
	struct request *r, const struct options *o, const struct settings *s, struct error *err)
{
	int ret;

	caller_fill_env(r->caller, o->tty, &r->env);
	strv_env_set(&r->env, "WNODES_IMAGE", r->image);
	ret = add_env(r, (const char *const *)s->env, err);
	return ret < 0 ? ret : add_env(r, o->env, err);
}

/* The directory that the command starts in: where the current one is seen in the VM, else (nothing
 * of the host is seen) the home directory. --workdir counts from there. */
static int fill_workdir(struct request *r, const struct options *o, bool none, struct error *err)
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

int options_fill_request(const struct options *o, struct request *r, struct error *err)
{
	const struct settings *s = r->settings;
	bool none = false;
	int ret;

	if (network_check_name(either(o->network, s->network), err) < 0)
		return err->code;
	fill_shape(r, o, s);
	r->tty = o->tty;
	r->report = o->report;
	r->usage = o->report;
	r->progress = !o->verbose && isatty(STDERR_FILENO);
	ret = check_start(r, err);
	if (ret == 0)
		ret = fill_shares(r, o, s, &none, err);
	if (ret == 0)
		ret = fill_volumes(r, o, err);
	if (ret == 0)
		ret = fill_env(r, o, s, err);
	if (ret == 0)
		ret = fill_workdir(r, o, none, err);
	if (ret == 0 && r->env.failed)
		ret = fail(err, -ENOMEM, "out of memory");
	return ret;
}
